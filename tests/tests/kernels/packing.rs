use razorc_proto::program::DType;
use razorc_proto::program::attr::Value;

use crate::case::{Case, f32, int, topk, topk_gaps};

#[test]
fn pruned_copies() {
    for (dims, samples) in [([1, 3], 1), ([6, 700], 6), ([2, 64], 2), ([4, 9001], 4), ([8, 130], 2)] {
        let n = dims.iter().product::<usize>() / samples;
        for keep in [1, n.div_ceil(30), n.div_ceil(10), n / 2, n] {
            let mut case = Case::new(&format!("{dims:?}, {samples} samples, {keep} kept"));
            let (x, step) = (case.random(&dims), case.tensor(&[], &[70_000.0]));
            let seed = [("seed", Value::Int(-77))];
            for form in [topk, topk_gaps] {
                for values in [DType::F32, DType::F16, DType::Bf16] {
                    let packed = case.op("compress", &[x], form(&dims, samples, keep, values), &[]);
                    case.op("decompress", &[packed], f32(&dims), &[]);
                }
                for operands in [&[x][..], &[x, step]] {
                    let packed = case.op("compress", operands, form(&dims, samples, keep, DType::I8), &seed);
                    case.op("decompress", &[packed], f32(&dims), &[]);
                }
            }
            case.check(4e-6);
        }
    }
}

#[test]
fn masks_of_the_published_rule() {
    for (dims, samples) in [([1, 3], 1), ([6, 700], 6), ([4, 9001], 2)] {
        for sparsity in [0, 500_000, 900_000, 1_000_000] {
            let mut case = Case::new(&format!("{dims:?}, {samples} samples, {sparsity}"));
            let x = case.random(&dims);
            let attrs = [("sparsity_ppm", int(sparsity)), ("samples", int(samples))];
            case.op("mask_topk", &[x], f32(&dims), &attrs);
            case.check(4e-6);
        }
    }
}
