//! Tokenizers, and the only place that knows the crate behind them.

use std::path::Path;

use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, EncodeInput, Encoding, PostProcessor, TruncationParams};

use crate::data::DataError;

/// Makes tokens of texts.
pub struct Tokenizer {
    whole: tokenizers::Tokenizer,
    /// Without truncation.
    endless: tokenizers::Tokenizer,
}

/// The tokens of a text.
pub struct Row {
    pub ids: Vec<u32>,
    pub types: Vec<u8>,
    pub special: Vec<bool>,
    /// For each token the word that it belongs to.
    pub words: Vec<Option<u32>>,
}

const PADS: [&str; 4] = ["[PAD]", "<pad>", "<|endoftext|>", "</s>"];
const MASKS: [&str; 2] = ["[MASK]", "<mask>"];

impl Tokenizer {
    /// Opens a `tokenizer.json` or a `vocab.txt`; texts are cut to `len` tokens.
    pub fn open(path: &Path, len: usize) -> Result<Tokenizer, DataError> {
        let wrong = |reason: String| DataError::Tokenizer { path: path.into(), reason };
        std::fs::metadata(path).map_err(|source| DataError::Read { path: path.into(), source })?;
        let is_vocabulary = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("txt"));
        let opened = match is_vocabulary {
            true => word_piece(path),
            false => tokenizers::Tokenizer::from_file(path).map_err(|error| error.to_string()),
        };
        let mut endless = opened.map_err(wrong)?;
        endless.with_padding(None);
        endless.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
        let marks = endless.get_post_processor().map_or(0, |it| it.added_tokens(true));
        if len <= marks {
            return Err(wrong(format!("it marks texts by {marks} tokens, and the model takes {len} in all")));
        }
        let mut whole = endless.clone();
        let truncation = TruncationParams { max_length: len, ..TruncationParams::default() };
        whole.with_truncation(Some(truncation)).map_err(|error| wrong(error.to_string()))?;
        Ok(Tokenizer { whole, endless })
    }

    /// End of the tokens that it makes.
    pub fn size(&self) -> u64 {
        let largest = self.whole.get_vocab(true).into_values().max();
        largest.map_or(0, |it| u64::from(it) + 1)
    }

    /// The token that fills rows up.
    pub fn pad(&self) -> Option<u32> {
        PADS.iter().find_map(|it| self.whole.token_to_id(it))
    }

    /// The token that stands for a masked one.
    pub fn mask(&self) -> Option<u32> {
        MASKS.iter().find_map(|it| self.whole.token_to_id(it))
    }

    /// The tokens of a text, or of two.
    pub fn pair(&self, text: &str, pair: Option<&str>) -> Result<Row, String> {
        let input = match pair {
            Some(pair) => EncodeInput::Dual(text.into(), pair.into()),
            None => EncodeInput::Single(text.into()),
        };
        row(self.whole.encode(input, true))
    }

    /// The tokens of a text that is cut into words.
    pub fn words(&self, words: &[String]) -> Result<Row, String> {
        row(self.whole.encode(words, true))
    }

    /// Appends the tokens of a part of a text, and none that mark its ends.
    pub fn append(&self, text: &str, stream: &mut Vec<u32>) -> Result<(), String> {
        let encoding =
            self.endless.encode(text, false).map_err(|error| format!("cannot be cut into tokens: {error}"))?;
        stream.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

fn row(encoding: tokenizers::Result<Encoding>) -> Result<Row, String> {
    let encoding = encoding.map_err(|error| format!("cannot be cut into tokens: {error}"))?;
    if encoding.get_ids().is_empty() {
        return Err("has no tokens".into());
    }
    Ok(Row {
        ids: encoding.get_ids().to_vec(),
        types: encoding.get_type_ids().iter().map(|&it| it as u8).collect(),
        special: encoding.get_special_tokens_mask().iter().map(|&it| it != 0).collect(),
        words: encoding.get_word_ids().to_vec(),
    })
}

/// BERT's tokenizer from its list of words, one a line.
fn word_piece(path: &Path) -> Result<tokenizers::Tokenizer, String> {
    let text = |error: tokenizers::Error| error.to_string();
    let content = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let vocabulary: Vec<&str> = content.lines().map(str::trim_end).collect();
    let id = |token: &str| {
        let found = vocabulary.iter().position(|it| *it == token);
        found.map(|it| it as u32).ok_or_else(|| format!("it has no {token}, so it is no WordPiece vocabulary"))
    };
    let (start, end) = (id("[CLS]")?, id("[SEP]")?);
    id("[UNK]")?;
    let name = path.to_str().ok_or("its name is no UTF-8")?;
    let model = WordPiece::from_file(name).unk_token("[UNK]".into()).build().map_err(text)?;
    // Vocabularies without capitals are for texts without capitals.
    let words = vocabulary.iter().filter(|it| !it.starts_with('['));
    let lower = !words.flat_map(|it| it.chars()).any(char::is_uppercase);
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(Some(BertNormalizer::new(true, true, None, lower))).map_err(text)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    let template = TemplateProcessing::builder()
        .try_single("[CLS] $A [SEP]")
        .and_then(|it| it.try_pair("[CLS] $A [SEP] $B:1 [SEP]:1"))
        .map_err(|error| error.to_string())?
        .special_tokens(vec![("[CLS]", start), ("[SEP]", end)])
        .build()
        .map_err(|error| error.to_string())?;
    tokenizer.with_post_processor(Some(template));
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let there = special.iter().filter(|it| vocabulary.contains(it)).map(|it| AddedToken::from(*it, true));
    tokenizer.add_special_tokens(there).map_err(text)?;
    Ok(tokenizer)
}
