//! Whether a value that the processor made is that of the reference.

use half::{bf16, f16};
use razorc_proto::packed;
use razorc_runtime::arena::Arena;
use razorc_runtime::kernels::state::{BLOCK, Code};
use razorc_runtime::program::Value;
use razorc_runtime::reference::Tensor;
use razorc_runtime::types::{DType, IndexForm, Kept, Quant, Topk, Type};

/// Floats within `tolerance` of the largest finite one of their tensor, all else exactly.
pub fn compare(about: &str, value: &Value, arena: &Arena, expected: &Tensor, tolerance: f64) {
    let place = value.place();
    match (value.ty(), expected) {
        (Type::Dense(DType::F32, _), Tensor::Float(expected)) => {
            let largest = expected.iter().filter(|it| it.is_finite()).fold(0.0f64, |it, value| it.max(value.abs()));
            for (at, (found, &expected)) in arena.value::<f32>(place).iter().zip(expected).enumerate() {
                let found = f64::from(*found);
                let close = (found - expected).abs() <= tolerance * largest;
                let same = found == expected || found.is_nan() && expected.is_nan();
                assert!(close || same, "{about}[{at}] is {found} and should be {expected}");
            }
        }
        (Type::Bf16(_), Tensor::Float(expected)) => {
            // What is a rounding of f32 away from the reference may be drawn to the next number.
            let largest = expected.iter().fold(0.0f64, |it, value| it.max(value.abs()));
            let mut others = 0;
            for (at, (found, &expected)) in arena.value::<u16>(place).iter().zip(expected).enumerate() {
                let found = f64::from(bf16::from_bits(*found));
                let close = (found - expected).abs() <= expected.abs() / 128.0 + 1e-7 * largest;
                assert!(close, "{about}[{at}] is {found} and should be {expected}");
                others += usize::from(found != expected);
            }
            assert!(100 * others <= expected.len() + 99, "{about}: {others} of {} are others", expected.len());
        }
        (Type::Dynamic(signed, _), Tensor::Float(expected)) => {
            // As above, the next level may be drawn; and scales differ by a rounding of f32.
            let bytes = arena.value::<u8>(place);
            let (scales, codes) = bytes.split_at(expected.len().div_ceil(BLOCK) * 4);
            let mut others = 0;
            for (at, (&code, &expected)) in codes.iter().zip(expected).enumerate() {
                let scale = f32::from_le_bytes(scales[at / BLOCK * 4..][..4].try_into().unwrap());
                let code_of = Code::of(*signed);
                let level = |code: u8| f64::from(code_of.load(code, scale));
                let is = |it: f64| (it - expected).abs() <= 1e-5 * expected.abs() + 1e-12 * f64::from(scale);
                let close = is(level(code)) || is(level(code.wrapping_add(1))) || is(level(code.wrapping_sub(1)));
                assert!(close, "{about}[{at}] is {} and should be {expected}", level(code));
                others += usize::from(!is(level(code)));
            }
            assert!(100 * others <= expected.len() + 99, "{about}: {others} of {} are others", expected.len());
        }
        (Type::Dense(dtype, _), Tensor::Int(expected)) => {
            let found: Vec<i64> = match dtype {
                DType::U8 | DType::Bool => arena.value::<u8>(place).iter().map(|&it| it.into()).collect(),
                DType::I32 => arena.value::<i32>(place).iter().map(|&it| it.into()).collect(),
                _ => arena.value::<i64>(place).to_vec(),
            };
            assert_eq!(found, Vec::from_iter(expected.iter().copied()), "{about}");
        }
        (Type::Bits(_), Tensor::Bits(expected)) => {
            let words = arena.value::<u64>(place);
            for (at, &expected) in expected.iter().enumerate() {
                assert_eq!((words[at / 64] >> (at % 64)) & 1 == 1, expected, "{about}[{at}]");
            }
        }
        (Type::Codes(bits, _), Tensor::Codes(expected)) => {
            let words = arena.value::<u64>(place);
            let bit = |at: usize, plane: usize| (words[at / 64 * bits + plane] >> (at % 64)) & 1;
            for (at, &expected) in expected.iter().enumerate() {
                let found = (0..*bits).map(|plane| (bit(at, plane) as u8) << plane).sum::<u8>();
                assert_eq!(found, expected, "{about}[{at}]");
            }
        }
        (Type::Quant(quant), Tensor::Quant(expected)) => {
            assert_eq!(&rounded(quant, arena.value(place)), expected, "{about}");
        }
        (Type::Topk(topk), Tensor::Topk(expected)) => assert_eq!(&kept(topk, arena.value(place)), expected, "{about}"),
        (ty, _) => panic!("{about} is {ty}, of which the reference made something else"),
    }
}

/// Elements of a rounded tensor, decoded bit by bit.
fn rounded(quant: &Quant, bytes: &[u8]) -> Vec<f64> {
    let (&len, outer) = quant.dims.split_last().unwrap_or((&1, &[]));
    let (rows, blocks, code_bytes) =
        (outer.iter().product::<usize>(), len.div_ceil(quant.block), (len * quant.bits).div_ceil(8));
    let (scales, codes) = bytes.split_at(rows * blocks * 4);
    let element = |row: usize, at: usize| {
        let codes = &codes[row * code_bytes..][..code_bytes];
        let bit = |at: usize| f32::from((codes[at / 8] >> (at % 8)) & 1);
        let code: f32 = (0..quant.bits).map(|i| bit(at * quant.bits + i) * (1 << i) as f32).sum();
        let number = |at: usize| bf16::from_le_bytes(scales[at * 2..][..2].try_into().unwrap()).to_f32();
        let block = row * blocks + at / quant.block;
        f64::from(number(2 * block + 1) + code * number(2 * block))
    };
    (0..rows).flat_map(|row| (0..len).map(move |at| (row, at))).map(|(row, at)| element(row, at)).collect()
}

/// For each sample the index and the value of what was kept, decoded bit by bit.
fn kept(topk: &Topk, bytes: &[u8]) -> Vec<Vec<(usize, f64)>> {
    let (n, keep, width) = (topk.n(), topk.keep, topk.values.bytes());
    let scales = if topk.values == Kept::I8 { keep.div_ceil(256) * 4 } else { 0 };
    let (indices, values) = bytes.split_at(topk.samples * topk.index_bytes());
    let (scale_bytes, values) = values.split_at(topk.samples * scales);
    let sample = |sample: usize| {
        let index = &indices[sample * topk.index_bytes()..][..topk.index_bytes()];
        let bit = |at: usize| (index[at / 8] >> (at % 8)) & 1 == 1;
        let positions: Vec<usize> = match topk.form {
            IndexForm::Bitmap => (0..n).filter(|&i| bit(i)).collect(),
            IndexForm::Gaps => {
                let low_bits = packed::low_bits(n as u64, keep as u64) as usize;
                let high = (keep * low_bits).div_ceil(64) * 64;
                let ones = (0..index.len() * 8 - high).filter(|&i| bit(high + i));
                let low = |j: usize| (0..low_bits).map(|i| usize::from(bit(j * low_bits + i)) << i).sum::<usize>();
                ones.enumerate().map(|(j, i)| (i - j) << low_bits | low(j)).collect()
            }
        };
        assert_eq!(positions.len(), keep);
        let number = |(j, it): (usize, &[u8])| -> f64 {
            match topk.values {
                Kept::F32 => f32::from_le_bytes(it.try_into().unwrap()).into(),
                Kept::F16 => f16::from_le_bytes(it.try_into().unwrap()).into(),
                Kept::Bf16 => bf16::from_le_bytes(it.try_into().unwrap()).into(),
                Kept::I8 => {
                    let scale = &scale_bytes[sample * scales + j / 256 * 4..][..4];
                    (f32::from(it[0] as i8) * f32::from_le_bytes(scale.try_into().unwrap())).into()
                }
            }
        };
        let values = values[sample * keep * width..][..keep * width].chunks(width);
        positions.into_iter().zip(values.enumerate().map(number)).collect()
    };
    (0..topk.samples).map(sample).collect()
}
