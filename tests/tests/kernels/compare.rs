//! Whether a value that the processor made is that of the reference.

use half::{bf16, f16};
use razorc_runtime::arena::Arena;
use razorc_runtime::program::Value;
use razorc_runtime::reference::Tensor;
use razorc_runtime::types::{DType, Kept, Topk, Type};

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
        (Type::Topk(topk), Tensor::Topk(expected)) => assert_eq!(&kept(topk, arena.value(place)), expected, "{about}"),
        (ty, _) => panic!("{about} is {ty}, of which the reference made something else"),
    }
}

/// For each sample the index and the value of what was kept.
fn kept(topk: &Topk, bytes: &[u8]) -> Vec<Vec<(usize, f64)>> {
    let (bitmaps, values) = bytes.split_at(topk.samples * topk.words() * 8);
    let number = |it: &[u8]| match topk.values {
        Kept::F32 => f32::from_le_bytes(it.try_into().unwrap()).into(),
        Kept::F16 => f16::from_le_bytes(it.try_into().unwrap()).into(),
        Kept::Bf16 => bf16::from_le_bytes(it.try_into().unwrap()).into(),
    };
    let width = topk.values.bytes();
    let sample = |(bitmap, values): (&[u8], &[u8])| {
        let indices = (0..topk.n()).filter(|i| (bitmap[i / 8] >> (i % 8)) & 1 == 1);
        indices.zip(values.chunks(width).map(number)).collect()
    };
    bitmaps.chunks(topk.words() * 8).zip(values.chunks(topk.keep * width)).map(sample).collect()
}
