//! Data for training and evaluation: image folders, arrays and texts, transformed and batched in the background.
//!
//! A [`Dataset`] is checked as a whole when it is opened. A [`Loader`] then hands out batches in an order and with an
//! augmentation that depend on the seed, the epoch and the sample alone: not on threads, nor on where a run resumed.

mod array;
mod arrays;
mod error;
mod fill;
mod folder;
mod form;
mod labels;
mod loader;
mod masks;
mod npy;
mod resample;
mod select;
mod text;
mod tokens;
mod transform;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use array::{Array, Element};
pub use error::DataError;
use folder::Folder;
use form::Form;
pub use loader::{Batch, Loader, Order, Targets};
use masks::Masks;
use razorc_proto::program::task::Kind;
pub use text::TextOptions;
use tokens::Tokens;
pub use transform::{PRESETS, Transform};

/// What a trainer wants of its data.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What the model is fed, in its order.
    pub inputs: Vec<Input>,
    /// What the loss compares with.
    pub target: Target,
    /// What the model predicts, which decides what targets are made of.
    pub kind: Kind,
    /// A row can weigh nothing, so that the last batch of an evaluation can be filled up.
    pub padded: bool,
}

/// An input of the model.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in the model.
    pub name: String,
    /// Its shape without the batch, such as `[3, 224, 224]`.
    pub dims: Vec<usize>,
    /// What its numbers are.
    pub numbers: Numbers,
}

/// What numbers an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// f32.
    Real,
    /// i64, from 0 to below `end` where that is known.
    Whole {
        /// Such as the size of a vocabulary.
        end: Option<u64>,
    },
    /// 0 or 1, a byte each.
    Truth,
}

/// Numbers of one input, row after row.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// f32.
    Real(Vec<f32>),
    /// i64.
    Whole(Vec<i64>),
    /// 0 or 1.
    Truth(Vec<u8>),
}

/// What the loss compares with.
#[derive(Clone, Debug)]
pub enum Target {
    /// Nothing: the model computes its loss from its inputs.
    None,
    /// Indices of classes. Names are known once a trainer was trained on data that has some; until then they are empty.
    Class {
        /// Number of classes; 0 where nobody knows it.
        count: usize,
        /// Names of the classes in the order of their indices, or nothing.
        names: Vec<String>,
        /// Shape of a row's indices: nothing for a class of the whole row, else tokens or pixels.
        dims: Vec<usize>,
        /// An index that counts nothing.
        ignore: i64,
    },
    /// Numbers of the prediction's shape.
    Values {
        /// Shape of the prediction without the batch.
        dims: Vec<usize>,
        /// They must be from 0 to 1 (binary cross entropy).
        unit: bool,
    },
}

/// How data is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decoded images are kept, and arrays held in memory, if they take no more bytes than this. Opening a folder may
    /// hold as many until it turns out that they are too many.
    pub cache_bytes: usize,
    /// Leave out any number of unreadable images, rather than at most one in a hundred.
    pub skip_unreadable: bool,
    /// Threads that decode while the data set is opened.
    pub threads: usize,
    /// How texts become tokens.
    pub text: TextOptions,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 256 << 20, skip_unreadable: false, threads: 2, text: TextOptions::default() }
    }
}

/// Rows of inputs and targets, all of them checked. Cloning shares the data.
#[derive(Clone, Debug)]
pub struct Dataset {
    path: PathBuf,
    source: Arc<Source>,
    labels: Arc<Labels>,
    inputs: Arc<[Input]>,
    padded: bool,
    class_names: Vec<String>,
    /// Rows of the source.
    rows: Vec<u32>,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Source {
    /// Images, for the one input.
    Folder(Folder, Form),
    /// An array for each input.
    Arrays(Vec<(Array, Form)>),
    /// Tokens, from which every input is made.
    Tokens(Tokens),
}

#[derive(Debug)]
enum Labels {
    None,
    /// Class indices, so many a row.
    Classes {
        indices: Vec<i64>,
        per_row: usize,
    },
    Masks(Masks),
    Values(Array),
    /// The tokens themselves; in the way that the task says.
    Tokens,
}

impl Dataset {
    /// Opens rows. Every image and every number is read once. By what `path` is:
    ///
    /// - a folder `path/<class>/*.png|jpg|jpeg`;
    /// - a folder with `images` and `masks` of the same names, for segmentation;
    /// - `.npy`, with `targets` in another such file unless the tokens themselves are the targets;
    /// - `.npz` with an array for each input by its name (`x` will do for a single one) and `y`;
    /// - `.jsonl`, `.csv`, `.tsv`, `.txt`: texts, see [`TextOptions`].
    ///
    /// # Errors
    /// Whatever a row could stop training with, named with its file.
    pub fn open(path: &Path, targets: Option<&Path>, expect: &Expect, options: &Options) -> Result<Dataset, DataError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let brings_targets = path.is_dir() || extension != "npy";
        if brings_targets && targets.is_some() {
            return Err(DataError::ExtraTargets { path: path.into() });
        }
        match extension.as_str() {
            _ if path.is_dir() && expect.kind == Kind::Segmentation => masks::open(path, expect, options),
            _ if path.is_dir() => Dataset::open_folder(path, expect, options),
            "npz" => arrays::open_npz(path, expect, options),
            "npy" => arrays::open_npy(path, targets, expect, options),
            "jsonl" | "csv" | "tsv" | "txt" => text::open(path, expect, options),
            _ => Err(DataError::Unknown { path: path.into() }),
        }
    }

    /// Rows in memory: `x` is `[rows, row_dims..]`, `y` the class of each row; `name` stands for a path in errors.
    ///
    /// # Errors
    /// As for arrays in files.
    pub fn from_memory(
        name: &str,
        row_dims: &[usize],
        x: &[f32],
        y: &[i64],
        expect: &Expect,
    ) -> Result<Dataset, DataError> {
        let x_bytes = x.iter().flat_map(|it| it.to_le_bytes()).collect();
        let y_bytes = y.iter().flat_map(|it| it.to_le_bytes()).collect();
        let x_dims = [&[y.len()], row_dims].concat();
        let x = Array::of_bytes(name, x_dims, Element::F32, x_bytes)?;
        let y = Array::of_bytes(name, vec![y.len()], Element::I64, y_bytes)?;
        arrays::dataset(vec![x], Some(y), expect)
    }

    fn open_folder(path: &Path, expect: &Expect, options: &Options) -> Result<Dataset, DataError> {
        let form = form::of_folder(expect)?;
        let Form::Image { input, .. } = form else {
            return Err(DataError::NotAnImage { expected: expect.inputs[0].dims.clone() });
        };
        let (count, names) = match &expect.target {
            Target::Class { count, names, dims, .. } if dims.is_empty() => (*count, names),
            Target::Class { dims, .. } | Target::Values { dims, .. } => {
                return Err(DataError::FolderForValues { path: path.into(), expected: dims.clone() });
            }
            Target::None => return Err(DataError::FolderForValues { path: path.into(), expected: vec![] }),
        };
        let folder::Listing { classes, mut warnings } = folder::list(path)?;
        let found: Vec<String> = classes.iter().map(|(name, _)| name.clone()).collect();
        let class_names = if names.is_empty() { found } else { names.clone() };
        if class_names.len() != count {
            return Err(DataError::ClassCount { path: path.into(), expected: count, found: class_names.len() });
        }
        let (mut files, mut labels) = (Vec::new(), Vec::new());
        for (name, images) in classes {
            let Some(class) = class_names.iter().position(|known| *known == name) else {
                let known = class_names.join(", ");
                return Err(DataError::UnknownClass { path: path.into(), name, known });
            };
            labels.extend(std::iter::repeat_n(class as i64, images.len()));
            files.extend(images);
        }
        let (folder, kept, warning) = Folder::open(path, files, input.channels, options)?;
        warnings.extend(warning);
        let labels = kept.iter().map(|&idx| labels[idx]).collect::<Vec<_>>();
        let rows = labels.len();
        let labels = Labels::Classes { indices: labels, per_row: 1 };
        let mut dataset = Dataset::new(path, Source::Folder(folder, form), labels, rows, expect);
        (dataset.class_names, dataset.warnings) = (class_names, warnings);
        Ok(dataset)
    }

    fn new(path: &Path, source: Source, labels: Labels, rows: usize, expect: &Expect) -> Dataset {
        let class_names = match &expect.target {
            Target::Class { names, .. } => names.clone(),
            _ => Vec::new(),
        };
        Dataset {
            path: path.into(),
            source: Arc::new(source),
            labels: Arc::new(labels),
            inputs: expect.inputs.as_slice().into(),
            padded: expect.padded,
            class_names,
            rows: (0..rows as u32).collect(),
            warnings: Vec::new(),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never true of an opened data set.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Names of the classes in the order of their indices; empty where the data has none.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// What the user should hear about, such as images that were left out. One sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Bytes of memory that the data occupies: cached images and arrays, labels and row numbers.
    pub fn bytes(&self) -> usize {
        let source = match &*self.source {
            Source::Folder(folder, _) => folder.bytes(),
            Source::Arrays(arrays) => arrays.iter().map(|(array, _)| array.bytes()).sum(),
            Source::Tokens(tokens) => tokens.bytes(),
        };
        let labels = match &*self.labels {
            Labels::Classes { indices, .. } => 8 * indices.len(),
            Labels::Masks(masks) => masks.bytes(),
            Labels::Values(array) => array.bytes(),
            Labels::None | Labels::Tokens => 0,
        };
        source + labels + 4 * self.rows.len()
    }
}
