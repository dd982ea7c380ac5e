//! Slopes of smooth activations in a few bits: what the gradient needs, without the tensor that they were taken at.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::unary::{Smooth, approximate};
use crate::error::KernelError;
use crate::types::Type;

/// `codes = nearest level of function'(x)`; or `dx = dy * level`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slopes {
    /// Elements.
    pub n: usize,
    /// Whose derivative it is.
    pub function: Smooth,
    /// Of a code, 2 to 4.
    pub bits: usize,
    /// What codes stand for.
    pub levels: Levels,
}

/// Slopes at equal distances, 0 and 1 among them: code i stands for `(first + i) / per_one`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Of code 0.
    pub first: i32,
    /// Levels from 0 to 1.
    pub per_one: i32,
}

impl Levels {
    /// Levels for the slopes of a function; none where they have no range that so few levels could cover.
    pub fn of(function: Smooth, bits: usize) -> Option<Levels> {
        let most = (1 << bits) - 1;
        let (first, per_one) = match (function, bits) {
            (Smooth::Gelu | Smooth::GeluTanh | Smooth::Silu | Smooth::Mish, 2) => (0, 3),
            // From a step below 0 to a step above 1.
            (Smooth::Gelu | Smooth::GeluTanh | Smooth::Silu | Smooth::Mish, _) => (-1, most - 2),
            // From -1/2 to 3/2.
            (Smooth::HardSwish, 2) => (0, 2),
            (Smooth::HardSwish, 3) => (-2, 3),
            (Smooth::HardSwish, _) => (-4, 7),
            (Smooth::Softplus | Smooth::Softsign, _) => (0, most),
            (Smooth::Elu { alpha }, _) if alpha < 0.0 || f64::from(most) < alpha => return None,
            (Smooth::Elu { alpha }, _) => (0, (f64::from(most) / alpha.max(1.0)) as i32),
        };
        Some(Levels { first, per_one })
    }

    /// The slope that a code stands for.
    pub fn slope(self, code: u8) -> f64 {
        f64::from(self.first + i32::from(code)) / f64::from(self.per_one)
    }

    /// The code of the level nearest to a slope; a slope that is no number gets the first one.
    pub fn nearest(self, slope: f64, bits: usize) -> u8 {
        let most = f64::from((1 << bits) - 1);
        (slope * f64::from(self.per_one) - f64::from(self.first)).round_ties_even().clamp(0.0, most) as u8
    }
}

pub(super) fn slope_codes(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let x = call.f32(0)?;
    let bits = call.size("bits", 2)?;
    call.results(&[Type::Codes(bits, x.to_vec())])?;
    slopes(call, x, bits).map(Kernel::SlopeCodes)
}

pub(super) fn scale_by_codes(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let dy = call.f32(0)?;
    let (bits, _) = call.codes(1)?;
    call.expect(1, &Type::Codes(bits, dy.to_vec()))?;
    call.result(dy)?;
    slopes(call, dy, bits).map(Kernel::ScaleByCodes)
}

fn slopes(call: &Call<'_>, dims: &[usize], bits: usize) -> Result<Slopes> {
    let function = function(call)?;
    if !(2..=4).contains(&bits) {
        return Err(wrong("bits", "2 to 4".into()));
    }
    let levels = Levels::of(function, bits);
    let levels =
        levels.ok_or_else(|| KernelError::Sizes(format!("{bits} bits cannot cover the slopes of {function:?}")))?;
    Ok(Slopes { n: dims.iter().product(), function, bits, levels })
}

/// The function, and that it has its own attrs and no others.
fn function(call: &Call<'_>) -> Result<Smooth> {
    let word = call.word("function")?;
    let own: &[&str] = match word {
        "gelu" => &["function", "bits", "approximate"],
        "elu" => &["function", "bits", "alpha"],
        _ => &["function", "bits"],
    };
    call.only(own)?;
    match word {
        "gelu" => approximate(call),
        "silu" => Ok(Smooth::Silu),
        "mish" => Ok(Smooth::Mish),
        "hard_swish" => Ok(Smooth::HardSwish),
        "softplus" => Ok(Smooth::Softplus),
        "softsign" => Ok(Smooth::Softsign),
        "elu" => Ok(Smooth::Elu { alpha: call.float("alpha")? }),
        _ => Err(wrong("function", "a smooth activation".into())),
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::reference::function::slope;

    /// Cosine between dy times the slope and dy times its level, for normally distributed x and dy.
    fn cosine(function: Smooth, bits: usize) -> f64 {
        let levels = Levels::of(function, bits).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(7);
        // The sum of twelve uniform numbers is nearly normal.
        let mut normal = || (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0;
        let (mut both, mut exact, mut coded) = (0.0, 0.0, 0.0);
        for _ in 0..100_000 {
            let (x, dy) = (normal(), normal());
            let slope = slope(function, x);
            let level = levels.slope(levels.nearest(slope, bits));
            both += dy * dy * slope * level;
            exact += (dy * slope).powi(2);
            coded += (dy * level).powi(2);
        }
        both / (exact * coded).sqrt()
    }

    #[test]
    fn gradients_by_codes_point_where_exact_ones_do() {
        for (function, least) in [
            (Smooth::Gelu, [0.98, 0.995, 0.999]),
            (Smooth::GeluTanh, [0.98, 0.995, 0.999]),
            (Smooth::Silu, [0.98, 0.995, 0.999]),
            (Smooth::Mish, [0.98, 0.995, 0.999]),
            (Smooth::HardSwish, [0.95, 0.985, 0.997]),
            (Smooth::Softplus, [0.98, 0.995, 0.999]),
            (Smooth::Softsign, [0.96, 0.99, 0.998]),
            (Smooth::Elu { alpha: 1.0 }, [0.98, 0.995, 0.999]),
            (Smooth::Elu { alpha: 1.673_263_2 }, [0.9, 0.98, 0.995]),
        ] {
            for (bits, least) in (2..).zip(least) {
                let cosine = cosine(function, bits);
                println!("{function:?}, {bits} bits: {cosine:.5}");
                assert!(least < cosine, "{function:?}, {bits} bits: {cosine}");
            }
        }
    }

    #[test]
    fn levels_are_those_that_were_measured() {
        let of = |bits| Levels::of(Smooth::Gelu, bits).unwrap();
        let slopes = |bits: usize| (0..1 << bits).map(|code| of(bits).slope(code)).collect::<Vec<_>>();
        assert_eq!(slopes(2), [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]);
        assert_eq!(slopes(3), [-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]);
        assert_eq!((slopes(4)[0], slopes(4)[15]), (-1.0 / 13.0, 14.0 / 13.0));
        assert_eq!(of(3).nearest(f64::NAN, 3), 0);
        assert_eq!((of(3).nearest(-9.0, 3), of(3).nearest(9.0, 3)), (0, 7));
    }

    #[test]
    fn slopes_without_bounds_have_no_levels() {
        assert_eq!(Levels::of(Smooth::Elu { alpha: -0.5 }, 3), None);
        assert_eq!(Levels::of(Smooth::Elu { alpha: 7.5 }, 3), None);
        assert_eq!(Levels::of(Smooth::Elu { alpha: 3.5 }, 3), Some(Levels { first: 0, per_one: 2 }));
    }
}
