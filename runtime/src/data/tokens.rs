//! Rows of tokens, and how the inputs of a model are made from them.

use razorc_proto::program::task::Kind;

use super::array::Array;
use super::form::squeezed;
use super::{DataError, Expect, Numbers, Options, Target};
use crate::rng::Rng;

/// Share of tokens that masked language modelling asks for, in percent, as in BERT (Devlin et al., 2019).
const MASKED: u64 = 15;

/// Rows of at most `width` tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    /// `[rows, width]`, padded.
    ids: Vec<u32>,
    width: usize,
    /// Tokens that the model takes; `width` is one more where the token behind the last one is known.
    len: usize,
    /// Tokens of each row that are no padding.
    used: Vec<u32>,
    /// The text of a pair that a token belongs to, `[rows, len]`; empty: the first.
    types: Vec<u8>,
    /// Tokens that are never masked, such as the first one of BERT, `[rows, width]`; empty: none.
    special: Vec<bool>,
    feeds: Vec<Feed>,
    ignore: i64,
    next: bool,
    masking: Option<Masking>,
}

/// What an input is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    Ids,
    Mask,
    Types,
    Positions,
}

#[derive(Clone, Copy, Debug)]
struct Masking {
    token: u32,
    vocabulary: u64,
}

/// How a model wants its tokens.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub feeds: Vec<Feed>,
    pub len: usize,
    /// End of the ids that the model has.
    pub end: Option<u64>,
}

/// Words for what inputs are made from, and the names by which they are known.
const NAMES: [(Feed, &str, &[&str]); 4] = [
    (Feed::Ids, "input_ids", &["input_ids", "ids", "tokens", "token_ids"]),
    (Feed::Mask, "attention_mask", &["attention_mask", "input_mask", "mask"]),
    (Feed::Types, "token_type_ids", &["token_type_ids", "segment_ids", "token_types"]),
    (Feed::Positions, "position_ids", &["position_ids", "positions"]),
];

impl Shape {
    /// Finds out what each input is made from: as `feed` says, by its name, or because it is the only one.
    pub fn of(expect: &Expect, feed: &[(String, String)]) -> Result<Shape, DataError> {
        let wrong = |text: String| Err(DataError::Feed(text));
        if let Some((name, _)) = feed.iter().find(|(name, _)| expect.inputs.iter().all(|it| it.name != *name)) {
            return wrong(format!("`{name}` is no input of the trainer; those are {}", super::form::names(expect)));
        }
        let mut feeds = Vec::new();
        for input in &expect.inputs {
            let given = feed.iter().find(|(name, _)| *name == input.name).map(|(_, word)| word.as_str());
            let found = NAMES.iter().find(|(_, word, names)| match given {
                Some(given) => *word == given,
                None => names.contains(&input.name.to_lowercase().as_str()),
            });
            match (found, given) {
                (Some((feed, ..)), _) => feeds.push(*feed),
                (None, None) if expect.inputs.len() == 1 => feeds.push(Feed::Ids),
                (None, _) => {
                    let words = NAMES.map(|(_, word, _)| word).join(", ");
                    return wrong(format!(
                        "nothing says what the input `{}` is made from; `--feed {0}=WORD` does, with one of {words}",
                        input.name
                    ));
                }
            }
        }
        let Some(ids) = feeds.iter().position(|it| *it == Feed::Ids) else {
            return wrong("no input of the trainer takes tokens; `--feed NAME=input_ids` says which one does".into());
        };
        let dims = &expect.inputs[ids].dims;
        let [len] = squeezed(dims)[..] else {
            return wrong(format!(
                "the input `{}` has rows of shape {dims:?}, which are no tokens",
                expect.inputs[ids].name
            ));
        };
        if let Some(other) = expect.inputs.iter().find(|it| squeezed(&it.dims) != [len]) {
            return wrong(format!(
                "the input `{}` has rows of shape {:?}, not of {len} tokens",
                other.name, other.dims
            ));
        }
        let Numbers::Whole { end } = expect.inputs[ids].numbers else {
            return wrong(format!(
                "the input `{}` takes no whole numbers, so it takes no tokens",
                expect.inputs[ids].name
            ));
        };
        Ok(Shape { feeds, len, end })
    }
}

impl Tokens {
    /// No rows yet. `mask_token` is what stands for a masked token.
    pub fn new(shape: Shape, expect: &Expect, mask_token: Option<u32>) -> Result<Tokens, DataError> {
        let next = expect.kind == Kind::CausalLm;
        let (mut ignore, mut masking, mut classes) = (-100, None, 0);
        if let Target::Class { ignore: it, count, .. } = &expect.target {
            (ignore, classes) = (*it, *count as u64);
        }
        if expect.kind == Kind::MaskedLm {
            let Some(token) = mask_token else {
                return Err(DataError::Feed(
                    "nothing says which token stands for a masked one; `--mask-token N` does".into(),
                ));
            };
            masking = Some(Masking { token, vocabulary: shape.end.unwrap_or(classes).min(classes) });
        }
        let Shape { feeds, len, .. } = shape;
        let width = if next { len + 1 } else { len };
        let (ids, used, types, special) = (vec![], vec![], vec![], vec![]);
        Ok(Tokens { ids, width, len, used, types, special, feeds, ignore, next, masking })
    }

    /// Adds a row; what does not fit is left out. Shorter rows are padded with `pad`.
    pub fn push(&mut self, ids: &[u32], types: &[u8], special: &[bool], pad: u32) {
        let used = ids.len().min(self.width);
        let start = self.ids.len();
        self.ids.extend_from_slice(&ids[..used]);
        self.ids.resize(start + self.width, pad);
        self.used.push(used as u32);
        let start = self.types.len();
        self.types.extend(types.iter().take(self.len));
        self.types.resize(start + self.len, 0);
        self.special.extend(special.iter().take(self.width));
        self.special.resize(self.ids.len(), false);
    }

    /// Cuts a stream of tokens into rows; what does not fill a last one is left out, unless it is the only one.
    pub fn push_stream(&mut self, ids: &[u32], pad: u32) {
        let least = if self.next { 2 } else { 1 };
        let mut start = 0;
        while start + self.width <= ids.len() || (start == 0 && least <= ids.len()) {
            self.push(&ids[start..ids.len().min(start + self.width)], &[], &[], pad);
            start += self.len;
        }
    }

    /// Rows of an array of tokens, or a stream of them.
    pub fn of_array(array: &Array, expect: &Expect, options: &Options) -> Result<Tokens, DataError> {
        let shape = Shape::of(expect, &options.text.feed)?;
        let name = &expect.inputs[shape.feeds.iter().position(|it| *it == Feed::Ids).unwrap_or(0)].name;
        super::select::check_whole(array, name, shape.end.or(Some(u64::from(u32::MAX))))?;
        let mut tokens = Tokens::new(shape, expect, options.text.mask_token)?;
        let found = array.row_dims().to_vec();
        let mut scratch = Vec::new();
        if found.is_empty() && tokens.len != 1 {
            let mut stream = Vec::with_capacity(array.rows());
            for row in 0..array.rows() {
                stream.extend(array.values(row, &mut scratch)?.map(|it| it as u32));
            }
            tokens.push_stream(&stream, options.text.pad_token.unwrap_or(0));
        } else {
            let len = found.iter().product::<usize>();
            if squeezed(&found).len() > 1 || (len != tokens.len && len != tokens.width) {
                let (path, expected) = (array.path.clone(), vec![tokens.len]);
                return Err(DataError::Shape { path, expected, found });
            }
            let mut row_ids = Vec::with_capacity(len);
            for row in 0..array.rows() {
                row_ids.clear();
                row_ids.extend(array.values(row, &mut scratch)?.map(|it| it as u32));
                let pad = options.text.pad_token;
                while 1 < row_ids.len() && row_ids.last().copied() == pad {
                    row_ids.pop();
                }
                tokens.push(&row_ids, &[], &[], pad.unwrap_or(0));
            }
        }
        if tokens.rows() == 0 {
            return Err(DataError::NoRows { path: array.path.clone() });
        }
        Ok(tokens)
    }

    pub fn rows(&self) -> usize {
        self.used.len()
    }

    /// Tokens that the model takes.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> usize {
        4 * (self.ids.capacity() + self.used.capacity()) + self.types.capacity() + self.special.capacity()
    }

    /// The input that masked tokens go into; none unless they are what is learned.
    pub fn masked_input(&self) -> Option<usize> {
        self.masking.and_then(|_| self.feeds.iter().position(|it| *it == Feed::Ids))
    }

    /// A row of an input.
    pub fn fill<T>(&self, slot: usize, row: usize, out: &mut [T], cast: impl Fn(i64) -> T) {
        let (ids, used) = (self.row(row), self.used[row] as usize);
        for (at, place) in out.iter_mut().enumerate() {
            *place = cast(match self.feeds[slot] {
                Feed::Ids => ids[at].into(),
                Feed::Mask => (at < used).into(),
                Feed::Types => self.types[row * self.len + at].into(),
                Feed::Positions => at as i64,
            });
        }
    }

    /// What the tokens themselves are compared with: the token behind each, or nothing until tokens are masked.
    pub fn targets(&self, row: usize, out: &mut [i64]) {
        let (ids, used) = (self.row(row), self.used[row] as usize);
        for (at, place) in out.iter_mut().enumerate() {
            *place = if self.next && at + 1 < used { ids[at + 1].into() } else { self.ignore };
        }
    }

    /// Asks for about 15 % of a row's tokens, at least one: 80 % of them are masked, 10 % become any other token and
    /// 10 % stay as they are.
    pub fn mask(&self, row: usize, mut rng: Rng, ids: &mut [i64], targets: &mut [i64]) {
        let Some(Masking { token, vocabulary }) = self.masking else { return };
        let used = (self.used[row] as usize).min(self.len);
        let open = |at: &usize| !self.special[row * self.width + at];
        let n = (0..used).filter(open).count() as u64;
        let mut lots = rng.clone();
        rng = Rng::keyed(&[rng.bits()]);
        // Otherwise a row might have nothing to learn from.
        let mut ahead = lots.clone();
        let drawn = (0..n).any(|_| ahead.below(100) < MASKED);
        let sure = if drawn { n } else { rng.below(n) };
        for (nth, at) in (0..used).filter(open).enumerate() {
            let chosen = lots.below(100) < MASKED;
            if !chosen && nth as u64 != sure {
                continue;
            }
            targets[at] = ids[at];
            match rng.below(10) {
                0 => {}
                1 => ids[at] = rng.below(vocabulary) as i64,
                _ => ids[at] = token.into(),
            }
        }
    }

    fn row(&self, row: usize) -> &[u32] {
        &self.ids[row * self.width..][..self.width]
    }
}
