//! Offsets of the elements along one axis of a matrix that is a tensor's view.

/// An index of up to three digits, each with its own stride: sample, row and column of a pixel, for instance.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Radix of the last two digits.
    digits: [usize; 2],
    strides: [usize; 3],
}

impl Axis {
    /// Element `i` at `i * stride`.
    pub fn flat(stride: usize) -> Axis {
        Axis { digits: [1, usize::MAX], strides: [0, 0, stride] }
    }

    /// Element `i` at `i / len * outer + i % len * inner`.
    pub fn pairs(len: usize, outer: usize, inner: usize) -> Axis {
        Axis { digits: [1, len], strides: [outer, 0, inner] }
    }

    /// Pixel `i` of an image `height` x `width`, with strides of samples, rows and columns.
    pub fn pixels(height: usize, width: usize, strides: [usize; 3]) -> Axis {
        Axis { digits: [height, width], strides }
    }

    /// Offset of element `i`.
    pub fn offset(&self, i: usize) -> usize {
        let [outer, middle, inner] = self.split(i);
        outer * self.strides[0] + middle * self.strides[1] + inner * self.strides[2]
    }

    /// Offsets of the elements from `start` on.
    pub fn offsets(&self, start: usize, out: &mut [usize]) {
        let [mut outer, mut middle, mut inner] = self.split(start);
        for out in out {
            *out = outer * self.strides[0] + middle * self.strides[1] + inner * self.strides[2];
            inner += 1;
            if inner == self.digits[1] {
                (inner, middle) = (0, middle + 1);
            }
            if middle == self.digits[0] {
                (middle, outer) = (0, outer + 1);
            }
        }
    }

    /// Stride of neighbors, and how many follow element `i` (itself included) at that stride.
    pub fn run(&self, i: usize) -> (usize, usize) {
        (self.strides[2], self.digits[1] - i % self.digits[1])
    }

    /// No offset of the first `count` elements reaches this.
    pub fn end(&self, count: usize) -> usize {
        let last = count - 1;
        let [outer, _, _] = self.split(last);
        let middle = (last / self.digits[1]).min(self.digits[0] - 1);
        let inner = last.min(self.digits[1] - 1);
        outer * self.strides[0] + middle * self.strides[1] + inner * self.strides[2] + 1
    }

    fn split(&self, i: usize) -> [usize; 3] {
        let [height, width] = self.digits;
        [i / width / height, i / width % height, i % width]
    }
}
