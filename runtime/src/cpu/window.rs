//! How windows step over one axis, forward and backward.

use crate::kernels::conv::Conv;

/// One spatial axis: tap `j` of the window at position `p` reads element `first + j * step + p * stride`.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Taps.
    pub taps: usize,
    /// Where the first tap of the first window is; negative in the padding.
    pub first: isize,
    /// From one tap to the next.
    pub step: isize,
    /// From one window to the next.
    pub stride: usize,
    /// Windows.
    pub count: usize,
    /// Elements; those outside are zero.
    pub size: usize,
}

impl Window {
    /// Where the tap reads; it may be outside.
    pub fn at(&self, position: usize, tap: usize) -> isize {
        self.first + tap as isize * self.step + (position * self.stride) as isize
    }

    /// The element that the tap reads, unless that is padding.
    pub fn read(&self, position: usize, tap: usize) -> Option<usize> {
        usize::try_from(self.at(position, tap)).ok().filter(|&it| it < self.size)
    }

    /// Only the windows from `start` on, at most `count`.
    pub fn part(&self, start: usize, count: usize) -> Window {
        let first = self.first + (start * self.stride) as isize;
        Window { first, count: count.min(self.count - start), ..*self }
    }
}

impl Conv {
    /// The same convolution with all pixels in one row, if it looks at one pixel at a time.
    pub(crate) fn flat(&self) -> Conv {
        let plain = [self.kh, self.kw, self.sh, self.sw] == [1; 4] && [self.pt, self.pl, self.pb, self.pr] == [0; 4];
        match plain {
            true => Conv { ih: 1, iw: self.ih * self.iw, oh: 1, ow: self.oh * self.ow, ..self.clone() },
            false => self.clone(),
        }
    }

    /// Vertical windows on x.
    pub(crate) fn rows(&self) -> Window {
        let (first, step) = (-(self.pt as isize), self.dh as isize);
        Window { taps: self.kh, first, step, stride: self.sh, count: self.oh, size: self.ih }
    }

    /// Horizontal windows on x.
    pub(crate) fn cols(&self) -> Window {
        let (first, step) = (-(self.pl as isize), self.dw as isize);
        Window { taps: self.kw, first, step, stride: self.sw, count: self.ow, size: self.iw }
    }
}

/// The pixels `start`, `start + stride`, .. of one axis of x, as windows on dy: all of them are reached by the same taps.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// The first pixel.
    pub start: usize,
    /// Its windows on dy, with stride 1.
    pub window: Window,
    /// First tap of w that reaches these pixels.
    pub tap: usize,
    /// From one such tap to the next.
    pub tap_step: usize,
}

/// All pairs of vertical and horizontal phases that some tap reaches.
pub fn phases(conv: &Conv) -> impl Iterator<Item = (Phase, Phase)> {
    let row = |it| Phase::of(it, (conv.ih, conv.sh), (conv.kh, conv.dh), conv.pt, conv.oh);
    let col = |it| Phase::of(it, (conv.iw, conv.sw), (conv.kw, conv.dw), conv.pl, conv.ow);
    let rows = (0..conv.sh.min(conv.ih)).filter_map(row);
    rows.flat_map(move |row| (0..conv.sw.min(conv.iw)).filter_map(col).map(move |col| (row, col)))
}

/// Whether every pixel of x is in one of the [`phases`].
pub fn all_reached(conv: &Conv) -> bool {
    phases(conv).count() == conv.sh.min(conv.ih) * conv.sw.min(conv.iw)
}

impl Phase {
    fn of(
        start: usize,
        (size, stride): (usize, usize),
        (kernel, dilation): (usize, usize),
        pad: usize,
        outputs: usize,
    ) -> Option<Phase> {
        let at = |tap: usize| (start + pad) as isize - (tap * dilation) as isize;
        let mut taps = (0..kernel).filter(|&it| at(it) % stride as isize == 0);
        let tap = taps.next()?;
        let step = taps.next().map_or(kernel, |it| it - tap);
        let window = Window {
            taps: (kernel - tap).div_ceil(step),
            first: at(tap) / stride as isize,
            step: -((step * dilation / stride) as isize),
            stride: 1,
            count: (size - start).div_ceil(stride),
            size: outputs,
        };
        Some(Phase { start, window, tap, tap_step: step })
    }
}
