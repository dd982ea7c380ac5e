//! Folders for segmentation: `images` and `masks` of the same names. A mask is a PNG whose pixels are class indices:
//! gray, or with a palette.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use super::folder::{Folder, entries, is_image};
use super::form::{self, Form};
use super::transform::Pipeline;
use super::{DataError, Dataset, Expect, Labels, Options, Source, Target};
use crate::rng::Rng;

/// The class of each pixel.
#[derive(Debug)]
pub(super) struct Masks {
    files: Vec<PathBuf>,
    /// Decoded masks; empty where not all of them fit into the cache.
    cache: Vec<Mask>,
    /// Height and width of the targets.
    dims: [usize; 2],
    largest: usize,
}

#[derive(Debug)]
struct Mask {
    height: usize,
    width: usize,
    classes: Vec<u8>,
}

const FILE_BYTES: u64 = 1 << 28;
const SIDE: u32 = 1 << 14;

pub(super) fn open(path: &Path, expect: &Expect, options: &Options) -> Result<Dataset, DataError> {
    let form = form::of_folder(expect)?;
    let Form::Image { input, .. } = form else {
        return Err(DataError::NotAnImage { expected: expect.inputs[0].dims.clone() });
    };
    let (count, ignore, dims) = match &expect.target {
        Target::Class { count, ignore, dims, .. } if dims.len() == 2 => (*count, *ignore, [dims[0], dims[1]]),
        _ => return Err(DataError::FolderForValues { path: path.into(), expected: vec![] }),
    };
    let (images, masks) = (by_stem(&path.join("images"))?, by_stem(&path.join("masks"))?);
    let unpaired = |kind, name: &String| DataError::Unpaired { path: path.into(), kind, name: name.clone() };
    if let Some(name) = images.keys().find(|it| !masks.contains_key(*it)) {
        return Err(unpaired("mask", name));
    }
    if let Some(name) = masks.keys().find(|it| !images.contains_key(*it)) {
        return Err(unpaired("image", name));
    }
    if images.is_empty() {
        return Err(DataError::NoRows { path: path.into() });
    }
    let masks: Vec<PathBuf> = masks.into_values().collect();
    let files: Vec<PathBuf> = images.into_values().collect();
    let (folder, kept, warning) = Folder::open(path, files, input.channels, options)?;
    let files: Vec<PathBuf> = kept.iter().map(|&idx| masks[idx].clone()).collect();
    let masks = Masks::open(files, &folder.files, (count, ignore), dims, options)?;
    let rows = folder.files.len();
    let mut dataset = Dataset::new(path, Source::Folder(folder, form), Labels::Masks(masks), rows, expect);
    dataset.warnings.extend(warning);
    Ok(dataset)
}

/// Images of a folder by their names without extension.
fn by_stem(folder: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let images = entries(folder)?.into_iter().filter(|it| is_image(it));
    Ok(images.map(|it| (it.file_stem().unwrap_or_default().to_string_lossy().into_owned(), it)).collect())
}

impl Masks {
    /// Decodes every mask once and checks it against its image.
    fn open(
        files: Vec<PathBuf>,
        images: &[PathBuf],
        (count, ignore): (usize, i64),
        dims: [usize; 2],
        options: &Options,
    ) -> Result<Masks, DataError> {
        let (mut cache, mut bytes, mut largest) = (Vec::new(), 0, 0);
        for (file, image) in files.iter().zip(images) {
            let fault = |problem| DataError::Mask { path: file.clone(), problem };
            let mask = decode(file).map_err(fault)?;
            let size = image::image_dimensions(image).map_err(|error| fault(error.to_string()))?;
            if size != (mask.width as u32, mask.height as u32) {
                let (width, height) = size;
                let found = format!("{} x {}", mask.width, mask.height);
                return Err(fault(format!("the mask is {found}, but its image {width} x {height}")));
            }
            let known = |it: &u8| usize::from(*it) < count || i64::from(*it) == ignore;
            if let Some(at) = mask.classes.iter().position(|it| !known(it)) {
                let (x, y, class) = (at % mask.width, at / mask.width, mask.classes[at]);
                let last = count.saturating_sub(1);
                return Err(fault(format!(
                    "pixel {x}, {y} is {class}, which is no class of 0 to {last} (or {ignore}, which counts nothing)"
                )));
            }
            bytes += mask.classes.len();
            largest = largest.max(mask.classes.len());
            if bytes <= options.cache_bytes {
                cache.push(mask);
            }
        }
        if cache.len() < files.len() {
            cache = Vec::new();
        }
        Ok(Masks { files, cache, dims, largest })
    }

    /// Classes of a row.
    pub fn row_len(&self) -> usize {
        self.dims[0] * self.dims[1]
    }

    pub fn bytes(&self) -> usize {
        let names = self.files.iter().map(|path| size_of::<PathBuf>() + path.capacity());
        let masks = self.cache.iter().map(|mask| size_of::<Mask>() + mask.classes.capacity());
        names.sum::<usize>() + masks.sum::<usize>()
    }

    /// The most bytes that handing out one mask takes.
    pub fn decoding_bytes(&self) -> usize {
        if self.cache.is_empty() { 3 * self.largest } else { 0 }
    }

    /// The classes of the pixels where the image of the same row is cropped and mirrored; the nearest one counts.
    pub fn fill(&self, row: usize, images: &Pipeline, rng: Option<Rng>, out: &mut [i64]) -> Result<(), DataError> {
        let decoded;
        let mask = match self.cache.get(row) {
            Some(mask) => mask,
            None => {
                let path = &self.files[row];
                let vanished = |reason| DataError::Vanished { path: path.clone(), reason };
                decoded = decode(path).map_err(vanished)?;
                &decoded
            }
        };
        let Some(crop) = images.crop([mask.height, mask.width], rng) else { return Ok(()) };
        let stored = [mask.height, mask.width];
        let source = |axis: usize, place: usize| {
            // The middle of the target's pixel, in the crop, in the resized image, in the stored one.
            let in_crop = (place as f64 + 0.5) * crop.size[axis] as f64 / self.dims[axis] as f64;
            let in_image = (crop.at[axis] as f64 + in_crop) * stored[axis] as f64 / crop.full[axis] as f64;
            (in_image as usize).min(stored[axis] - 1)
        };
        let [height, width] = self.dims;
        for y in 0..height {
            let line = &mask.classes[source(0, y) * mask.width..][..mask.width];
            for x in 0..width {
                let from = if crop.flip { width - 1 - x } else { x };
                out[y * width + x] = line[source(1, from)].into();
            }
        }
        Ok(())
    }
}

/// The bytes of a gray PNG, or the indices of one with a palette.
fn decode(path: &Path) -> Result<Mask, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if FILE_BYTES < length {
        return Err(format!("its {length} bytes are too many"));
    }
    let content = fs::read(path).map_err(|error| error.to_string())?;
    let mut decoder = png::Decoder::new(Cursor::new(&content));
    // Palettes and pixels of less than a byte stay as they are.
    decoder.set_transformations(png::Transformations::IDENTITY);
    decoder.set_limits(png::Limits { bytes: 1 << 29 });
    let mut reader = decoder.read_info().map_err(|error| format!("the mask is no PNG: {error}"))?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    if SIDE < width.max(height) || width.min(height) == 0 {
        return Err(format!("its size {width} x {height} is not usable"));
    }
    let (color, depth) = (info.color_type, info.bit_depth);
    if !matches!(color, png::ColorType::Grayscale | png::ColorType::Indexed) || depth == png::BitDepth::Sixteen {
        return Err("the mask is no PNG of class indices; save it in gray or with a palette, 8 bits a pixel".into());
    }
    let mut packed = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let frame = reader.next_frame(&mut packed).map_err(|error| error.to_string())?;
    let (height, width, bits) = (height as usize, width as usize, depth as usize);
    let mut classes = Vec::with_capacity(height * width);
    for line in packed[..frame.buffer_size()].chunks_exact(frame.line_size) {
        classes.extend((0..width).map(|x| {
            let shift = 8 - bits - x * bits % 8;
            (line[x * bits / 8] >> shift) & (0xff >> (8 - bits))
        }));
    }
    Ok(Mask { height, width, classes })
}
