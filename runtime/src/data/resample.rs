//! Resizing with the antialiased triangle filter ("bilinear"): only the pixels of the crop are computed.

/// Numbers of an image and the steps from one row, column and channel to the next.
pub(super) struct View<'a, T> {
    pub data: &'a [T],
    pub height: usize,
    pub width: usize,
    pub row: usize,
    pub column: usize,
    pub channel: usize,
}

/// A crop of an image after it was resized to `full`: height and width, as are all pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crop {
    pub full: [usize; 2],
    pub at: [usize; 2],
    pub size: [usize; 2],
    pub flip: bool,
}

/// Buffers that are reused from image to image.
#[derive(Default)]
pub(super) struct Scratch {
    lines: Vec<f32>,
    rows: Taps,
    columns: Taps,
}

impl Scratch {
    /// The most bytes that crops of `size` take from images of at most `height` by `width`.
    pub fn bound(height: usize, width: usize, size: [usize; 2], channels: usize) -> usize {
        let taps = |source: usize, out: usize| 4 * (2 * source + 3 * out) + 24 * out;
        4 * height * size[1] * channels + taps(height, size[0]) + taps(width, size[1])
    }
}

/// For each place of the output: a first place of the source, and the range of the weights from there on.
#[derive(Default)]
struct Taps {
    spans: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<f32>,
}

impl Taps {
    fn set(&mut self, source: usize, full: usize, at: usize, out: usize) {
        self.spans.clear();
        self.weights.clear();
        let ratio = source as f64 / full as f64;
        let reach = ratio.max(1.0);
        for place in at..at + out {
            let center = (place as f64 + 0.5) * ratio - 0.5;
            let weight = |it: usize| 1.0 - (it as f64 - center).abs() / reach;
            let last = (source - 1) as f64;
            // Whole places strictly within the triangle.
            let low = ((center - reach).floor() + 1.0).clamp(0.0, last) as usize;
            let high = ((center + reach).ceil() - 1.0).clamp(low as f64, last) as usize;
            let sum: f64 = (low..=high).map(weight).sum();
            let begin = self.weights.len();
            self.weights.extend((low..=high).map(|it| (weight(it) / sum) as f32));
            self.spans.push((low, begin..self.weights.len()));
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.spans.iter().map(|(low, range)| (*low, &self.weights[range.clone()]))
    }

    /// The places of the source that are read.
    fn source(&self) -> std::ops::Range<usize> {
        let low = self.spans.iter().map(|(low, _)| *low).min().unwrap_or(0);
        let end = self.spans.iter().map(|(low, range)| low + range.len()).max().unwrap_or(0);
        low..end
    }
}

/// Calls `put(channel, y, x, value)` for every place of the crop.
pub(super) fn resample<T: Copy + Into<f32>>(
    view: &View<'_, T>,
    channels: usize,
    crop: Crop,
    scratch: &mut Scratch,
    mut put: impl FnMut(usize, usize, usize, f32),
) {
    let Scratch { lines, rows, columns } = scratch;
    let [height, width] = crop.size;
    rows.set(view.height, crop.full[0], crop.at[0], height);
    columns.set(view.width, crop.full[1], crop.at[1], width);
    let source = rows.source();
    lines.clear();
    for row in source.clone() {
        for channel in 0..channels {
            let line = &view.data[row * view.row + channel * view.channel..];
            lines.extend(columns.iter().map(|(low, weights)| {
                let taps = weights.iter().enumerate();
                taps.map(|(tap, weight)| weight * line[(low + tap) * view.column].into()).sum::<f32>()
            }));
        }
    }
    for (y, (low, weights)) in rows.iter().enumerate() {
        for channel in 0..channels {
            for x in 0..width {
                let first = ((low - source.start) * channels + channel) * width + x;
                let taps = weights.iter().enumerate();
                let value = taps.map(|(tap, weight)| weight * lines[first + tap * channels * width]).sum::<f32>();
                put(channel, y, if crop.flip { width - 1 - x } else { x }, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::imageops::{FilterType, resize};

    use super::*;
    use crate::rng::Rng;

    fn resized(image: &image::RgbImage, crop: Crop) -> Vec<f32> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let view = View { data: image.as_raw(), height, width, row: 3 * width, column: 3, channel: 1 };
        let mut out = vec![f32::NAN; 3 * crop.size[0] * crop.size[1]];
        resample(&view, 3, crop, &mut Scratch::default(), |channel, y, x, value| {
            out[(y * crop.size[1] + x) * 3 + channel] = value;
        });
        out
    }

    fn noise(width: u32, height: u32) -> image::RgbImage {
        let mut rng = Rng::keyed(&[u64::from(width), u64::from(height)]);
        image::RgbImage::from_fn(width, height, |_, _| image::Rgb([0; 3].map(|_: u8| rng.bits() as u8)))
    }

    #[test]
    fn equals_the_triangle_filter_of_the_image_crate() {
        for (width, height, new_width, new_height) in [(40, 30, 16, 12), (17, 23, 40, 8), (5, 5, 5, 5), (1, 9, 4, 3)] {
            let image = noise(width, height);
            let expected = resize(&image, new_width, new_height, FilterType::Triangle);
            let size = [new_height as usize, new_width as usize];
            let found = resized(&image, Crop { full: size, at: [0, 0], size, flip: false });
            for (found, expected) in found.iter().zip(expected.as_raw()) {
                assert!((found - f32::from(*expected)).abs() <= 0.51, "{found} {expected}");
            }
        }
    }

    #[test]
    fn the_same_size_is_exact_and_a_crop_is_a_part_of_the_whole() {
        let image = noise(20, 14);
        let exact = resized(&image, Crop { full: [14, 20], at: [0, 0], size: [14, 20], flip: false });
        assert!(exact.iter().zip(image.as_raw()).all(|(a, b)| *a == f32::from(*b)));

        let whole = resized(&image, Crop { full: [9, 11], at: [0, 0], size: [9, 11], flip: false });
        let part = resized(&image, Crop { full: [9, 11], at: [2, 3], size: [5, 6], flip: true });
        for (y, x, channel) in (0..5).flat_map(|y| (0..6).flat_map(move |x| (0..3).map(move |c| (y, x, c)))) {
            assert_eq!(part[(y * 6 + 5 - x) * 3 + channel], whole[((y + 2) * 11 + x + 3) * 3 + channel]);
        }
    }
}
