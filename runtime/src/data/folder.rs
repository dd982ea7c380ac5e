//! Folders of images: `root/<class>/<image>`.

use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{ImageDecoder, ImageReader, Limits};

use super::{DataError, Options};

/// Images in the order of their class, then of their name.
#[derive(Debug)]
pub(super) struct Folder {
    pub files: Vec<PathBuf>,
    pub channels: usize,
    /// Decoded images; empty where not all of them fit into the cache.
    cache: Vec<Image>,
    pub largest: Size,
}

/// Bytes `[height, width, channels]`.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub height: usize,
    pub width: usize,
    pub bytes: Vec<u8>,
}

/// The largest height, and the most bytes that decoding one image takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    pub height: usize,
    pub width: usize,
    pub decoding: usize,
}

/// Class folders in the order of their names, each with its images in theirs.
pub(super) struct Listing {
    pub classes: Vec<(String, Vec<PathBuf>)>,
    pub warnings: Vec<String>,
}

const SIDE: u32 = 1 << 14;
const FILE_BYTES: u64 = 1 << 28;
const PIXEL_BYTES: u64 = 1 << 29;
const NAMED: usize = 10;

/// Finds the images. Names that begin with a dot are passed over, as is what is neither .png nor .jpg nor .jpeg.
pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let mut warnings = Vec::new();
    let mut classes = Vec::new();
    let mut others = 0;
    for class in entries(root)?.into_iter().filter(|path| path.is_dir()) {
        let (images, rest): (Vec<_>, Vec<_>) = entries(&class)?.into_iter().partition(|path| is_image(path));
        others += rest.len();
        let name = name(&class);
        if images.is_empty() {
            warnings.push(format!("{} has no images", class.display()));
        }
        classes.push((name, images));
    }
    if classes.is_empty() {
        return Err(DataError::NoClasses { path: root.into() });
    }
    if classes.iter().all(|(_, images)| images.is_empty()) {
        return Err(DataError::NoImages { path: root.into() });
    }
    if 0 < others {
        warnings.push(format!("{} holds other files than .png and .jpg, which are left out: {others}", root.display()));
    }
    Ok(Listing { classes, warnings })
}

pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Read { path: folder.into(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries.map(|entry| entry.map(|it| it.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    matches!(extension.as_str(), "png" | "jpg" | "jpeg") && !path.is_dir()
}

impl Folder {
    /// Decodes every image once, so that a broken one is found before training and not in the middle of it.
    /// Returns which of the files were kept, and a warning about the others.
    pub fn open(
        root: &Path,
        files: Vec<PathBuf>,
        channels: usize,
        options: &Options,
    ) -> Result<(Folder, Vec<usize>, Option<String>), DataError> {
        let cached = AtomicUsize::new(0);
        let decoded = in_parallel(options.threads, files.len(), |idx| {
            decode(&files[idx], channels).map(|(image, decoding)| {
                let size = Size { height: image.height, width: image.width, decoding };
                let total = cached.fetch_add(image.bytes.len(), Ordering::Relaxed) + image.bytes.len();
                (size, (total <= options.cache_bytes).then_some(image))
            })
        });
        let mut broken = Vec::new();
        let (mut folder, mut kept) =
            (Folder { files: vec![], channels, cache: vec![], largest: Size::default() }, vec![]);
        for (idx, (path, result)) in files.iter().zip(decoded).enumerate() {
            let Ok((size, image)) = result.map_err(|reason| broken.push((path, reason))) else { continue };
            kept.push(idx);
            folder.files.push(path.clone());
            folder.cache.extend(image);
            folder.largest = folder.largest.with(size);
        }
        if folder.cache.len() < folder.files.len() {
            folder.cache = Vec::new();
        }
        let total = files.len();
        let few = broken.len() * 100 <= total || options.skip_unreadable;
        if !few || kept.is_empty() {
            let (path, count, names) = (root.into(), broken.len(), named(root, &broken));
            return Err(DataError::Unreadable { path, count, total, names });
        }
        let warning = (!broken.is_empty()).then(|| {
            let names = named(root, &broken);
            format!("{} of {total} images in {} cannot be read and are left out: {names}", broken.len(), root.display())
        });
        Ok((folder, kept, warning))
    }

    /// Hands an image to `then`.
    pub fn with<T>(&self, idx: usize, then: impl FnOnce(&Image) -> T) -> Result<T, DataError> {
        match self.cache.get(idx) {
            Some(image) => Ok(then(image)),
            None => match decode(&self.files[idx], self.channels) {
                Ok((image, _)) => Ok(then(&image)),
                Err(reason) => Err(DataError::Vanished { path: self.files[idx].clone(), reason }),
            },
        }
    }

    /// Bytes of the names of files and the decoded images that are kept.
    pub fn bytes(&self) -> usize {
        let names = self.files.iter().map(|path| size_of::<PathBuf>() + path.capacity());
        let images = self.cache.iter().map(|image| size_of::<Image>() + image.bytes.capacity());
        names.sum::<usize>() + images.sum::<usize>()
    }

    /// The most bytes that handing out one image takes.
    pub fn decoding_bytes(&self) -> usize {
        if self.cache.is_empty() { self.largest.decoding } else { 0 }
    }
}

impl Size {
    fn with(self, other: Size) -> Size {
        Size {
            height: self.height.max(other.height),
            width: self.width.max(other.width),
            decoding: self.decoding.max(other.decoding),
        }
    }
}

fn named(root: &Path, broken: &[(&PathBuf, String)]) -> String {
    let name = |(path, reason): &(&PathBuf, String)| {
        format!("{} ({reason})", path.strip_prefix(root).unwrap_or(path).display())
    };
    let mut names = broken.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
    if NAMED < broken.len() {
        names.push_str(", ...");
    }
    names
}

/// Runs `job` for every index on `threads` threads; results come in order.
fn in_parallel<T: Send>(threads: usize, n: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(n));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, n.max(1)) {
            scope.spawn(|| {
                loop {
                    let idx = next.fetch_add(1, Ordering::Relaxed);
                    if n <= idx {
                        return;
                    }
                    let result = job(idx);
                    done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((idx, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(idx, _)| *idx);
    done.into_iter().map(|(_, result)| result).collect()
}

/// An image of 1 or 3 channels, and an upper estimate of the bytes that decoding it took. A gray input gets luma
/// (ITU-R 601, as in most training pipelines); transparency and EXIF orientation are disregarded.
fn decode(path: &Path, channels: usize) -> Result<(Image, usize), String> {
    catch_unwind(AssertUnwindSafe(|| decode_file(path, channels))).unwrap_or_else(|_| Err("the decoder gave up".into()))
}

fn decode_file(path: &Path, channels: usize) -> Result<(Image, usize), String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if FILE_BYTES < length {
        return Err(format!("its {length} bytes are too many"));
    }
    let content = fs::read(path).map_err(|error| error.to_string())?;
    let mut reader =
        ImageReader::new(Cursor::new(&content)).with_guessed_format().map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE);
    limits.max_image_height = Some(SIDE);
    limits.max_alloc = Some(PIXEL_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    let stored = decoder.total_bytes();
    if SIDE < width.max(height) || PIXEL_BYTES < stored || width.min(height) == 0 {
        return Err(format!("its size {width} x {height} is not usable"));
    }
    let decoded = image::DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    let (height, width) = (height as usize, width as usize);
    let rgb = decoded.into_rgb8().into_raw();
    // The decoders hold the file, coefficients of at most 2 bytes for each of 3 components, and their result.
    let decoding = content.len() + stored as usize + 9 * height * width;
    let bytes = if channels == 3 { rgb } else { rgb.chunks_exact(3).map(luma).collect() };
    Ok((Image { height, width, bytes }, decoding))
}

fn luma(rgb: &[u8]) -> u8 {
    let [red, green, blue] = [0, 1, 2].map(|channel| u32::from(rgb[channel]));
    ((299 * red + 587 * green + 114 * blue + 500) / 1000) as u8
}
