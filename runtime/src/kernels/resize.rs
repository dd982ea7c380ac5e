//! Resizing along one axis: every element of y is a weighted sum of neighbors in x.
//!
//! Coordinates are computed in f32, by the same formulas and in the same order as in onnxruntime: which neighbor is
//! nearest may hang on the last bit.

use super::Kernel;
use super::call::{Call, Result, wrong};
use crate::error::KernelError;

/// `y[outer, i, inner] = constants[i] + sum of weights[i, t] * x[outer, starts[i] + t, inner]` over t < `width`.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// All axes before the one that is resized.
    pub outer: usize,
    /// That axis of x.
    pub input: usize,
    /// That axis of y.
    pub output: usize,
    /// All axes behind it.
    pub inner: usize,
    /// Neighbors of each element of y; at most `input`.
    pub width: usize,
    /// The first neighbor of each; `width` of them are inside x.
    pub starts: Vec<usize>,
    /// Weights of the neighbors of each.
    pub weights: Vec<f32>,
    /// What elements are that lie outside x and are not extended from its edge.
    pub constants: Vec<f32>,
}

pub(super) fn resize(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (resize, y) = geometry(call, call.f32(0)?)?;
    call.result(&y)?;
    Ok(Kernel::Resize(resize))
}

pub(super) fn resize_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let x = call.shape()?;
    let (resize, y) = geometry(call, &x)?;
    call.f32_of(0, &y)?;
    call.result(&x)?;
    Ok(Kernel::ResizeGrad(resize))
}

fn geometry(call: &Call<'_>, x: &[usize]) -> Result<(Resize, Vec<usize>)> {
    let axis = call.size("axis", 0)?;
    let Some(&input) = x.get(axis) else { return Err(wrong("axis", format!("below {}", x.len()))) };
    let output = call.size("size", 1)?;
    let mut y = x.to_vec();
    y[axis] = output;
    let rule = Rule::parse(call, input, output)?;
    let width = rule.width();
    // Far more than an image has; a trainer must not make us keep more before its memory is counted.
    if 1 << 26 < output.saturating_mul(width) {
        return Err(KernelError::Sizes(format!("{output} sums of {width} neighbors are too many")));
    }
    let mut resize = Resize {
        outer: x[..axis].iter().product(),
        input,
        output,
        inner: x[axis + 1..].iter().product(),
        width: width.min(input),
        starts: Vec::with_capacity(output),
        weights: Vec::new(),
        constants: Vec::with_capacity(output),
    };
    for i in 0..output {
        rule.element(i, &mut resize);
    }
    Ok((resize, y))
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest(Nearest),
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Nearest {
    Floor,
    Ceil,
    PreferFloor,
    PreferCeil,
}

#[derive(Clone, Copy, PartialEq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    HalfPixelForNearest,
    AlignCorners,
    Asymmetric,
    Crop,
}

/// What the attrs say.
struct Rule {
    mode: Mode,
    coordinates: Coordinates,
    /// Elements of y for one of x.
    scale: f32,
    input: usize,
    output: usize,
    /// The part of x that y shows, as fractions of it, for `Crop`.
    roi: [f32; 2],
    /// What lies outside of x, for `Crop`.
    outside: f32,
    cubic: f32,
    exclude_outside: bool,
    antialias: bool,
}

impl Rule {
    fn parse(call: &Call<'_>, input: usize, output: usize) -> Result<Rule> {
        let mode = match call.word("mode")? {
            "nearest_floor" => Mode::Nearest(Nearest::Floor),
            "nearest_ceil" => Mode::Nearest(Nearest::Ceil),
            "nearest_prefer_floor" => Mode::Nearest(Nearest::PreferFloor),
            "nearest_prefer_ceil" => Mode::Nearest(Nearest::PreferCeil),
            "linear" => Mode::Linear,
            "cubic" => Mode::Cubic,
            _ => return Err(wrong("mode", "nearest_.., linear or cubic".into())),
        };
        let coordinates = match call.word("coordinates")? {
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "tf_half_pixel_for_nn" => Coordinates::HalfPixelForNearest,
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "tf_crop_and_resize" => Coordinates::Crop,
            _ => return Err(wrong("coordinates", "a transformation of coordinates".into())),
        };
        Ok(Rule {
            mode,
            coordinates,
            scale: call.float_in("scale", 1e-9..=1e9)? as f32,
            input,
            output,
            roi: [call.float_in("start", -1e6..=1e6)? as f32, call.float_in("end", -1e6..=1e6)? as f32],
            outside: call.float("outside")? as f32,
            cubic: call.float_in("cubic", -1e3..=1e3)? as f32,
            exclude_outside: call.flag("exclude_outside")?,
            antialias: call.flag("antialias")?,
        })
    }

    /// By how much the window of a smoothed reduction is wider.
    fn spread(&self) -> f32 {
        if self.antialias && self.scale < 1.0 { 1.0 / self.scale } else { 1.0 }
    }

    /// What is at least as far away does not count.
    fn reach(&self) -> f64 {
        f64::from(self.spread()) * if self.mode == Mode::Cubic { 2.0 } else { 1.0 }
    }

    /// Neighbors of an element.
    fn width(&self) -> usize {
        match self.mode {
            Mode::Nearest(_) => 1,
            _ => 2 * self.reach().ceil() as usize,
        }
    }

    /// Adds what element `i` of y is made of.
    fn element(&self, i: usize, resize: &mut Resize) {
        let x = self.coordinate(i as f32);
        let last = self.input as i64 - 1;
        let first_weight = resize.weights.len();
        resize.weights.resize(first_weight + resize.width, 0.0);
        let weights = &mut resize.weights[first_weight..];
        if self.coordinates == Coordinates::Crop && !(0.0..=last as f32).contains(&x) {
            resize.starts.push(0);
            resize.constants.push(self.outside);
            return;
        }
        resize.constants.push(0.0);
        if let Mode::Nearest(nearest) = self.mode {
            let nearest = match nearest {
                Nearest::Floor => x.floor(),
                Nearest::Ceil => x.ceil(),
                Nearest::PreferFloor => (x - 0.5).ceil(),
                Nearest::PreferCeil => (x + 0.5).floor(),
            };
            weights[0] = 1.0;
            resize.starts.push((nearest as i64).clamp(0, last) as usize);
            return;
        }
        let (x, spread) = (f64::from(x), f64::from(self.spread()));
        let (low, high) = ((x - self.reach()).floor() as i64 + 1, (x + self.reach()).ceil() as i64 - 1);
        let weight = |at: i64| match self.exclude_outside && !(0..=last).contains(&at) {
            true => 0.0,
            false => self.weight((at as f64 - x) / spread),
        };
        let total = match self.antialias || self.exclude_outside {
            true => (low..=high).map(weight).sum(),
            false => 1.0,
        };
        // What is beyond the edge is as the edge is.
        let start = low.clamp(0, self.input as i64 - resize.width as i64);
        for at in low..=high {
            weights[(at.clamp(0, last) - start) as usize] += (weight(at) / total) as f32;
        }
        resize.starts.push(start as usize);
    }

    /// Where element `i` of y lies in x.
    fn coordinate(&self, i: f32) -> f32 {
        let Rule { scale, roi: [start, end], .. } = *self;
        let (input, output) = (self.input as f32, self.output as f32);
        let half_pixel = (i + 0.5) / scale - 0.5;
        match self.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = output / (scale * input);
                input / 2.0 * (1.0 - adjustment) + (i + 0.5) / scale - 0.5
            }
            Coordinates::PytorchHalfPixel => {
                if self.output == 1 {
                    0.0
                } else {
                    half_pixel
                }
            }
            Coordinates::HalfPixelForNearest => (i + 0.5) / scale,
            Coordinates::AlignCorners if self.output == 1 => 0.0,
            Coordinates::AlignCorners => i * (input - 1.0) / (output - 1.0),
            Coordinates::Asymmetric => i / scale,
            Coordinates::Crop if self.output == 1 => 0.5 * (start + end) * (input - 1.0),
            Coordinates::Crop => start * (input - 1.0) + (i * (end - start) * (input - 1.0)) / (output - 1.0),
        }
    }

    /// Weight of what lies at this distance.
    fn weight(&self, distance: f64) -> f64 {
        let (x, a) = (distance.abs(), f64::from(self.cubic));
        match self.mode {
            Mode::Cubic if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Mode::Cubic if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Mode::Cubic => 0.0,
            _ => (1.0 - x).max(0.0),
        }
    }
}
