//! From stored rows to the numbers that a model takes.

use razorc_proto::program::Preprocess;

use super::DataError;
use super::form::{Form, Geometry, Layout};
use super::resample::{Crop, Scratch, View, resample};
use crate::rng::Rng;

/// How stored numbers become input values: `(number * scale - mean[c]) / std[c]`, after resizing and cropping images.
///
/// Training crops at random and flips when asked; evaluation takes the center and never flips.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// Factor of the stored numbers.
    pub scale: f64,
    /// One for all channels or one for each, in the order of the model's input.
    pub mean: Vec<f64>,
    /// One for all channels or one for each, in the order of the model's input.
    pub std: Vec<f64>,
    /// Shorter side to which images are resized before the crop; 0 resizes to exactly the input's size.
    pub resize: u32,
    /// The model's three channels are blue, green, red; stored images are always red, green, blue.
    pub bgr: bool,
    /// Training mirrors every second image, left to right.
    pub flip: bool,
    /// Training crops at a random place. With `resize` 0, images are first resized to 8/7 of the input (256 for 224).
    pub random_crop: bool,
}

/// Names that [`Transform::preset`] knows.
pub const PRESETS: [&str; 4] = ["imagenet", "unit", "signed", "raw"];

impl Transform {
    /// `imagenet`: bytes to 0..1, less ImageNet's mean, over its standard deviation; `unit`: bytes to 0..1;
    /// `signed`: bytes to -1..1; `raw`: numbers as they are. None for other names.
    pub fn preset(name: &str) -> Option<Transform> {
        let (scale, mean, std) = match name {
            "imagenet" => (1.0 / 255.0, vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
            "unit" => (1.0 / 255.0, vec![0.0], vec![1.0]),
            "signed" => (1.0 / 127.5, vec![1.0], vec![1.0]),
            "raw" => (1.0, vec![0.0], vec![1.0]),
            _ => return None,
        };
        Some(Transform { scale, mean, std, resize: 0, bgr: false, flip: false, random_crop: false })
    }
}

impl Transform {
    /// Numbers as they are.
    pub fn raw() -> Transform {
        let (mean, std) = (vec![0.0], vec![1.0]);
        Transform { scale: 1.0, mean, std, resize: 0, bgr: false, flip: false, random_crop: false }
    }
}

impl From<&Preprocess> for Transform {
    fn from(it: &Preprocess) -> Transform {
        let or = |given: &[f64], default| if given.is_empty() { vec![default] } else { given.to_vec() };
        Transform {
            scale: if it.scale == 0.0 { 1.0 } else { it.scale },
            mean: or(&it.mean, 0.0),
            std: or(&it.std, 1.0),
            resize: it.resize,
            bgr: it.bgr,
            flip: it.flip,
            random_crop: it.random_crop,
        }
    }
}

impl From<&Transform> for Preprocess {
    fn from(it: &Transform) -> Preprocess {
        Preprocess {
            scale: it.scale,
            mean: it.mean.clone(),
            std: it.std.clone(),
            resize: it.resize,
            bgr: it.bgr,
            flip: it.flip,
            random_crop: it.random_crop,
        }
    }
}

/// A transform that fits its input.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    scale: f32,
    /// Mean and standard deviation of each channel; of one where the input is no image.
    norms: Vec<(f32, f32)>,
    bgr: bool,
    image: Option<ImageSteps>,
}

#[derive(Clone, Debug)]
struct ImageSteps {
    input: Geometry,
    resize: u32,
    flip: bool,
    random_crop: bool,
}

impl Pipeline {
    pub fn new(transform: &Transform, form: &Form) -> Result<Pipeline, DataError> {
        let wrong = |text: String| Err(DataError::Transform(text));
        let image = match *form {
            Form::Image { input, .. } => Some(input),
            Form::Flat => None,
        };
        let channels = image.map_or(1, |input| input.channels);
        for (name, list) in [("mean", &transform.mean), ("std", &transform.std)] {
            if list.len() != 1 && list.len() != channels {
                return wrong(format!("`{name}` has {} numbers, but the input takes 1 or {channels}", list.len()));
            }
        }
        let numbers = [transform.scale].into_iter().chain(transform.mean.iter().copied());
        let norms_finite = numbers.chain(transform.std.iter().map(|std| 1.0 / std)).all(|it| (it as f32).is_finite());
        if !norms_finite {
            return wrong("`scale`, `mean` and `std` must be finite, and `std` not 0".into());
        }
        if transform.bgr && channels != 3 {
            return wrong(format!("`bgr` needs an image of 3 channels, but the input has {channels}"));
        }
        let image = match image {
            Some(input) => Some(ImageSteps {
                input,
                resize: transform.resize,
                flip: transform.flip,
                random_crop: transform.random_crop,
            }),
            None if transform.flip || transform.random_crop || 0 < transform.resize => {
                return wrong("flipping, cropping and resizing need images, but the input is none".into());
            }
            None => None,
        };
        if let Some(ImageSteps { input, resize, .. }) = &image
            && 0 < *resize
            && (*resize as usize) < input.height.max(input.width)
        {
            let Geometry { height, width, .. } = input;
            return wrong(format!("images resized to {resize} are smaller than the input's {height} x {width}"));
        }
        let at = |list: &[f64], channel: usize| list[channel.min(list.len() - 1)] as f32;
        let norms = (0..channels).map(|channel| (at(&transform.mean, channel), at(&transform.std, channel))).collect();
        Ok(Pipeline { scale: transform.scale as f32, norms, bgr: transform.bgr, image })
    }

    /// Fills `out` from numbers in the input's order.
    pub fn fill_flat(&self, numbers: impl Iterator<Item = f32>, out: &mut [f32]) {
        let (mean, std) = self.norms[0];
        for (place, number) in out.iter_mut().zip(numbers) {
            *place = (number * self.scale - mean) / std;
        }
    }

    /// Fills `out` from an image of `stored` size and layout; `rng` is present in training.
    pub fn fill_image<T: Copy + Into<f32>>(
        &self,
        data: &[T],
        stored: Geometry,
        rng: Option<Rng>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let Some(steps) = &self.image else { return };
        let Geometry { height, width, channels, layout } = stored;
        let [row, column, channel] = match layout {
            Layout::Planar => [width, 1, height * width],
            Layout::Interleaved => [width * channels, channels, 1],
        };
        let view = View { data, height, width, row, column, channel };
        let input = steps.input;
        let crop = steps.crop([height, width], rng);
        resample(&view, channels, crop, scratch, |from, y, x, number| {
            let to = if self.bgr { channels - 1 - from } else { from };
            let (mean, std) = self.norms[to];
            let place = match input.layout {
                Layout::Planar => (to * input.height + y) * input.width + x,
                Layout::Interleaved => (y * input.width + x) * channels + to,
            };
            out[place] = (number * self.scale - mean) / std;
        });
    }

    /// What [`Pipeline::fill_image`] takes of an image of these sides; none where the input is no image.
    pub fn crop(&self, stored: [usize; 2], rng: Option<Rng>) -> Option<Crop> {
        self.image.as_ref().map(|steps| steps.crop(stored, rng))
    }

    /// Bytes of scratch for images of at most `height` by `width`.
    pub fn scratch_bytes(&self, height: usize, width: usize) -> usize {
        self.image.as_ref().map_or(0, |steps| {
            let input = steps.input;
            Scratch::bound(height, width, [input.height, input.width], input.channels)
        })
    }
}

impl ImageSteps {
    fn crop(&self, stored: [usize; 2], mut rng: Option<Rng>) -> Crop {
        let size = [self.input.height, self.input.width];
        let shorter = stored[0].min(stored[1]);
        let full = match self.resize as usize {
            0 if rng.is_some() && self.random_crop => size.map(|side| (side * 8).div_ceil(7)),
            0 => size,
            side => stored.map(|it| (it * side + shorter / 2) / shorter),
        };
        let spare = [0, 1].map(|axis| full[axis].saturating_sub(size[axis]));
        let at = match &mut rng {
            Some(rng) if self.random_crop => spare.map(|spare| rng.below(spare as u64 + 1) as usize),
            _ => spare.map(|spare| spare / 2),
        };
        let flip = self.flip && rng.is_some_and(|mut rng| rng.coin());
        Crop { full, at, size, flip }
    }
}
