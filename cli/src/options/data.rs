use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use razorc_proto::program::{Program, Task};
use razorc_runtime::data::{self, Dataset, Expect, PRESETS, TextOptions, Transform};

use crate::failure::{Failure, Result};

/// Where rows come from and how they become input.
#[derive(Args, Debug)]
#[command(next_help_heading = "Data")]
pub struct DataOptions {
    /// Folder with a subfolder of PNG and JPEG images for each class, or with `images` and `masks` (segmentation); an
    /// array file `.npy`; an `.npz` with an array for each input by its name (or `x`) and `y`; or texts, `.jsonl`,
    /// `.csv`, `.tsv` or `.txt`
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Array file with a target for each row of an `.npy` file
    #[arg(long, value_name = "Y.npy")]
    targets: Option<PathBuf>,
    /// Leave out any number of unreadable images, not only one in a hundred
    #[arg(long)]
    skip_unreadable: bool,
    /// Bytes of decoded images and arrays that may be kept in memory
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    data_cache: usize,
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    text: TextInput,
}

/// How texts become tokens.
#[derive(Args, Debug)]
#[command(next_help_heading = "Text")]
struct TextInput {
    /// The model's tokenizer: a `tokenizer.json`, or a WordPiece `vocab.txt`
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Column of the text [default: text]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Column of a second text [default: text_pair, if there is one]
    #[arg(long, value_name = "NAME")]
    pair_column: Option<String>,
    /// Column of the label [default: label]
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// What an input is made from: input_ids, attention_mask, token_type_ids or position_ids; inputs that are called so
    /// need not be told
    #[arg(long, value_name = "INPUT=WORD")]
    feed: Vec<String>,
    /// The token that stands for a masked one [default: the tokenizer's]
    #[arg(long, value_name = "N")]
    mask_token: Option<u32>,
    /// The token that fills rows up [default: the tokenizer's, or none in arrays]
    #[arg(long, value_name = "N")]
    pad_token: Option<u32>,
}

/// How stored numbers become input: (number * scale - mean) / std. A trainer remembers what it was trained with.
#[derive(Args, Debug)]
#[command(next_help_heading = "Input")]
struct InputOptions {
    /// Scale, mean and standard deviation by name; single options below win over it
    #[arg(long, value_parser = PRESETS)]
    preset: Option<String>,
    /// Factor of the stored numbers
    #[arg(long, value_name = "X")]
    scale: Option<f64>,
    /// Mean after scaling, one or one for each channel
    #[arg(long, value_name = "M,..", value_delimiter = ',', allow_negative_numbers = true)]
    mean: Option<Vec<f64>>,
    /// Standard deviation after scaling, one or one for each channel
    #[arg(long, value_name = "S,..", value_delimiter = ',')]
    std: Option<Vec<f64>>,
    /// Order of the channels that the model takes
    #[arg(long)]
    channels: Option<Channels>,
    /// Shorter side to which images are resized before they are cropped to the input's size; 0 resizes to exactly that
    #[arg(long, value_name = "PIXELS")]
    resize: Option<u32>,
    /// Mirror every second image in training
    #[arg(long)]
    flip: bool,
    /// Crop at a random place in training
    #[arg(long)]
    random_crop: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Channels {
    Rgb,
    Bgr,
}

impl TextInput {
    fn parse(&self) -> Result<TextOptions> {
        let feed = |text: &String| match text.rsplit_once('=') {
            Some((name, word)) => Ok((name.to_string(), word.to_string())),
            None => Err(Failure::input(format!("`--feed {text}` cannot be understood"))
                .hint("write `--feed mask=attention_mask`")),
        };
        Ok(TextOptions {
            tokenizer: self.tokenizer.clone(),
            text_column: self.text_column.clone(),
            pair_column: self.pair_column.clone(),
            label_column: self.label_column.clone(),
            feed: self.feed.iter().map(feed).collect::<Result<_>>()?,
            mask_token: self.mask_token,
            pad_token: self.pad_token,
        })
    }
}

impl DataOptions {
    /// Opens the rows of `--data`, telling the user what is odd about them.
    pub fn open(&self, program: &Program, threads: usize) -> Result<Dataset> {
        self.open_at(&self.data, self.targets.as_deref(), program, threads)
    }

    /// Opens other rows of the same kind.
    pub fn open_at(&self, path: &Path, targets: Option<&Path>, program: &Program, threads: usize) -> Result<Dataset> {
        let expect = Expect::of(program)?;
        let cache_bytes = self.data_cache.saturating_mul(1 << 20);
        let (skip_unreadable, text) = (self.skip_unreadable, self.text.parse()?);
        let options = data::Options { cache_bytes, skip_unreadable, threads, text };
        let dataset = Dataset::open(path, targets, &expect, &options)?;
        for warning in dataset.warnings() {
            eprintln!("warning: {warning}");
        }
        let batch = program.task.as_ref().map_or(1, |task| task.batch.max(1) as usize);
        let left = if expect.padded { 0 } else { dataset.len() % batch };
        if 0 < left {
            let path = path.display();
            eprintln!(
                "warning: {left} rows of {path} do not fill a batch of {batch}, and the model's own loss knows no padding: they are left out"
            );
        }
        Ok(dataset)
    }

    /// How rows become input: by the options, or else as the trainer knows it.
    pub fn transform(&self, task: Option<&Task>) -> Result<Transform> {
        let input = &self.input;
        let known = task.and_then(|task| task.preprocess.as_ref()).map(Transform::from);
        let preset = input.preset.as_deref().and_then(Transform::preset);
        let given = input.scale.is_some() || input.mean.is_some() || input.std.is_some();
        let Some(start) =
            preset.or(known).or_else(|| Transform::preset("raw").filter(|_| given || !self.data.is_dir()))
        else {
            return Err(Failure::input("nothing says how pixels become input numbers").hint(
                "`--preset imagenet` or `--preset unit` is right for most networks; see also `--mean`, `--std`",
            ));
        };
        Ok(Transform {
            scale: input.scale.unwrap_or(start.scale),
            mean: input.mean.clone().unwrap_or(start.mean),
            std: input.std.clone().unwrap_or(start.std),
            bgr: input.channels.map_or(start.bgr, |it| it == Channels::Bgr),
            resize: input.resize.unwrap_or(start.resize),
            flip: input.flip || start.flip,
            random_crop: input.random_crop || start.random_crop,
        })
    }
}
