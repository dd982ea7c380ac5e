//! Data for training and evaluation: image folders and arrays, transformed and batched in the background.
//!
//! A [`Dataset`] is checked as a whole when it is opened. A [`Loader`] then hands out batches in an order and with an
//! augmentation that depend on the seed, the epoch and the sample alone: not on threads, nor on where a run resumed.

mod array;
mod error;
mod fill;
mod folder;
mod form;
mod loader;
mod npy;
mod resample;
mod select;
mod transform;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use array::{Array, Element};
pub use error::DataError;
use folder::Folder;
use form::Form;
pub use loader::{Batch, Loader, Order, Targets};
pub use transform::{PRESETS, Transform};

/// What a trainer wants of its data.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Shape of the model's input without the batch, such as `[3, 224, 224]`.
    pub input: Vec<usize>,
    /// What the loss compares with.
    pub target: Target,
}

/// What the loss compares with.
#[derive(Clone, Debug)]
pub enum Target {
    /// The index of a class. Names are known once a trainer was trained on a folder; until then they are empty.
    Class {
        /// Number of classes.
        count: usize,
        /// Names of the classes in the order of their indices, or nothing.
        names: Vec<String>,
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
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 256 << 20, skip_unreadable: false, threads: 2 }
    }
}

/// Rows of inputs and targets, all of them checked. Cloning shares the data.
#[derive(Clone, Debug)]
pub struct Dataset {
    path: PathBuf,
    source: Arc<Source>,
    labels: Arc<Labels>,
    form: Form,
    input: Vec<usize>,
    class_names: Vec<String>,
    /// Rows of the source.
    rows: Vec<u32>,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Source {
    Folder(Folder),
    Array(Array),
}

#[derive(Debug)]
enum Labels {
    Classes(Vec<i64>),
    Values(Array),
}

impl Dataset {
    /// Opens a folder `path/<class>/*.png|jpg|jpeg`, an `.npy` file with `targets` in another, or an `.npz` file with
    /// arrays `x` and `y`. Every image and every number is read once.
    ///
    /// # Errors
    /// Whatever a row could stop training with, named with its file.
    pub fn open(path: &Path, targets: Option<&Path>, expect: &Expect, options: &Options) -> Result<Dataset, DataError> {
        let bound = options.cache_bytes as u64;
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if path.is_dir() || extension == "npz" {
            if targets.is_some() {
                return Err(DataError::ExtraTargets { path: path.into() });
            }
            if path.is_dir() {
                return Dataset::open_folder(path, expect, options);
            }
            let x = Array::open_member(path, "x", bound)?;
            return Dataset::from_arrays(x, Array::open_member(path, "y", bound)?, expect);
        }
        if extension != "npy" {
            return Err(DataError::Unknown { path: path.into() });
        }
        let targets = targets.ok_or_else(|| DataError::MissingTargets { path: path.into() })?;
        Dataset::from_arrays(Array::open(path, bound)?, Array::open(targets, bound)?, expect)
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
        Dataset::from_arrays(x, Array::of_bytes(name, vec![y.len()], Element::I64, y_bytes)?, expect)
    }

    fn open_folder(path: &Path, expect: &Expect, options: &Options) -> Result<Dataset, DataError> {
        let form = form::of_folder(&expect.input)?;
        let Form::Image { input, .. } = form else {
            return Err(DataError::NotAnImage { expected: expect.input.clone() });
        };
        let (count, names) = match &expect.target {
            Target::Class { count, names } => (*count, names),
            Target::Values { dims, .. } => {
                return Err(DataError::FolderForValues { path: path.into(), expected: dims.clone() });
            }
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
        Ok(Dataset {
            path: path.into(),
            rows: (0..labels.len() as u32).collect(),
            source: Arc::new(Source::Folder(folder)),
            labels: Arc::new(Labels::Classes(labels)),
            form,
            input: expect.input.clone(),
            class_names,
            warnings,
        })
    }

    fn from_arrays(x: Array, y: Array, expect: &Expect) -> Result<Dataset, DataError> {
        if x.rows() != y.rows() {
            let (x_rows, y_rows) = (x.rows(), y.rows());
            return Err(DataError::RowCount { x: x.path, x_rows, y: y.path, y_rows });
        }
        let form = form::of_array(&x.path, &expect.input, x.row_dims())?;
        select::check_finite(&x)?;
        let (labels, class_names) = match &expect.target {
            Target::Class { count, names } => (Labels::Classes(select::classes(&y, *count)?), names.clone()),
            Target::Values { dims, unit } => (Labels::Values(select::values(y, dims, *unit)?), Vec::new()),
        };
        Ok(Dataset {
            path: x.path.clone(),
            rows: (0..x.rows() as u32).collect(),
            source: Arc::new(Source::Array(x)),
            labels: Arc::new(labels),
            form,
            input: expect.input.clone(),
            class_names,
            warnings: Vec::new(),
        })
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
            Source::Folder(folder) => folder.bytes(),
            Source::Array(array) => array.bytes(),
        };
        let labels = match &*self.labels {
            Labels::Classes(classes) => 8 * classes.len(),
            Labels::Values(array) => array.bytes(),
        };
        source + labels + 4 * self.rows.len()
    }
}
