use std::path::PathBuf;

use thiserror::Error;

/// Why data cannot be used. Every message names the file and, where there is one, the row (counted from 0).
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum DataError {
    #[error("{path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("{path} is no data set; give a folder with a subfolder of images for each class, an .npy, .npz, .jsonl, .csv, .tsv or .txt file", path = path.display())]
    Unknown { path: PathBuf },

    #[error("{path} has no class folders; put the images of each class into a subfolder named after it", path = path.display())]
    NoClasses { path: PathBuf },

    #[error("{path} has class folders, but no .png or .jpg images in them", path = path.display())]
    NoImages { path: PathBuf },

    #[error("{path} has no rows", path = path.display())]
    NoRows { path: PathBuf },

    #[error("{path} has {found} class folders, but the trainer has {expected} classes; compile with `--classes {found}`", path = path.display())]
    ClassCount { path: PathBuf, expected: usize, found: usize },

    #[error("{path} has a class folder `{name}` that the trainer does not know; its classes are {known}", path = path.display())]
    UnknownClass { path: PathBuf, name: String, known: String },

    #[error("{count} of {total} images in {path} cannot be read: {names}; repair or remove them, or leave them out with `--skip-unreadable`", path = path.display())]
    Unreadable { path: PathBuf, count: usize, total: usize, names: String },

    #[error("{path} could be read before, but not any more: {reason}", path = path.display())]
    Vanished { path: PathBuf, reason: String },

    #[error("{path} is no valid array file: {reason}", path = path.display())]
    BadArray { path: PathBuf, reason: String },

    #[error("{path} holds {found}; save it as u8, i8, u16, i32, i64, f32 or f64, little endian", path = path.display())]
    UnsupportedType { path: PathBuf, found: String },

    #[error("{path} takes {bytes} bytes, but {what} must fit into the {bound} bytes of the data cache; {remedy}", path = path.display())]
    TooLarge { path: PathBuf, what: &'static str, bytes: u64, bound: u64, remedy: &'static str },

    #[error("{path} has no array `{name}`; an .npz file needs one for each input by its name (`x` will do for a single one) and `y` for the targets, and holds {found}", path = path.display())]
    MissingArray { path: PathBuf, name: String, found: String },

    #[error("{path} needs targets; give them with `--targets Y.npy`", path = path.display())]
    MissingTargets { path: PathBuf },

    #[error("{path} brings its own targets; leave `--targets` out", path = path.display())]
    ExtraTargets { path: PathBuf },

    #[error("{path}: a folder of images gives class indices, but the loss wants values of shape {expected:?}; give arrays instead", path = path.display())]
    FolderForValues { path: PathBuf, expected: Vec<usize> },

    #[error("{x} has {x_rows} rows, but {y} has {y_rows}", x = x.display(), y = y.display())]
    RowCount { x: PathBuf, x_rows: usize, y: PathBuf, y_rows: usize },

    #[error("{path}: a row has shape {found:?}, but the trainer wants {expected:?}", path = path.display())]
    Shape { path: PathBuf, expected: Vec<usize>, found: Vec<usize> },

    #[error("{path}: a row has shape {found:?}, but a target is one class index; other losses take more (`--loss`)", path = path.display())]
    NotAClass { path: PathBuf, found: Vec<usize> },

    #[error("{path}: a row of shape {found:?} can be read with its channels first or last; save it in the input's own shape {expected:?}", path = path.display())]
    AmbiguousShape { path: PathBuf, expected: Vec<usize>, found: Vec<usize> },

    #[error(
        "a folder of images fills one input, but the trainer has {names}; give an .npz file with an array for each"
    )]
    FolderInputs { names: String },

    #[error("{path} fills one input, but the trainer has {names}; give an .npz file with an array for each", path = path.display())]
    ArrayInputs { path: PathBuf, names: String },

    #[error("{path}: row {row} holds {value}, but the input `{name}` takes whole numbers from 0{}", to(.end), path = path.display())]
    Whole { path: PathBuf, row: usize, name: String, value: f64, end: Option<u64> },

    #[error("{path}: line {line} {problem}", path = path.display())]
    Line { path: PathBuf, line: usize, problem: String },

    #[error("{path} {problem}", path = path.display())]
    Text { path: PathBuf, problem: String },

    #[error(
        "texts become tokens by a tokenizer; give one with `--tokenizer tokenizer.json` (or a WordPiece `vocab.txt`)"
    )]
    NoTokenizer,

    #[error("{path} is no tokenizer: {reason}", path = path.display())]
    Tokenizer { path: PathBuf, reason: String },

    #[error("{0}")]
    Feed(String),

    #[error("{path} has no {kind} for {name}; give each image a mask of the same name", path = path.display())]
    Unpaired { path: PathBuf, kind: &'static str, name: String },

    #[error("{path}: {problem}", path = path.display())]
    Mask { path: PathBuf, problem: String },

    #[error("the input {expected:?} is no image of 1 or 3 channels, so a folder of images cannot fill it")]
    NotAnImage { expected: Vec<usize> },

    #[error("{path}: row {row} holds {value}, which is no class of 0 to {last}{}", or(.ignore), path = path.display())]
    Label { path: PathBuf, row: usize, value: f64, last: usize, ignore: Option<i64> },

    #[error("{path}: row {row} holds {value}, but binary cross entropy takes targets from 0 to 1", path = path.display())]
    Probability { path: PathBuf, row: usize, value: f32 },

    #[error("{path}: row {row} holds {value}; all values must be finite", path = path.display())]
    NotFinite { path: PathBuf, row: usize, value: f32 },

    #[error("{0}")]
    Transform(String),

    #[error(
        "cannot split off {fraction} of {rows} rows; take a fraction between 0 and 1 that leaves rows on both sides"
    )]
    Split { fraction: f64, rows: usize },

    #[error(
        "{rows} rows do not fill a batch of {batch}, and training drops incomplete batches; compile with a batch of at most {rows}"
    )]
    BatchTooLarge { rows: usize, batch: usize },

    #[error("epoch {epoch}, batch {batch} is no place to start from")]
    Position { epoch: u64, batch: u64 },

    #[error("the loader stopped while preparing row {row}: {reason}")]
    Worker { row: usize, reason: String },
}

fn to(end: &Option<u64>) -> String {
    end.map_or_else(String::new, |end| format!(" to {}", end.saturating_sub(1)))
}

fn or(ignore: &Option<i64>) -> String {
    ignore.map_or_else(String::new, |it| format!(" (or {it}, which counts nothing)"))
}
