use razorc_proto::program::DType;
use razorc_proto::program::attr::Value;

use crate::case::{Case, f32, int, quant, topk, topk_gaps};

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

/// Rows of samples that do not count; of one sample none does, so there all do.
#[test]
fn pruned_copies_without_padding() {
    for (dims, samples, rows) in [([1, 6], 1, 3), ([6, 700], 6, 7), ([4, 9001], 4, 9001), ([40, 130], 8, 5)] {
        let n = dims.iter().product::<usize>() / samples;
        let mut counts: Vec<f32> = (0..samples * rows).map(|it| [1.0, 2.5, 0.0, 1.0, -1.0][it * it % 5]).collect();
        if 1 < samples {
            counts[rows..2 * rows].fill(0.0);
            counts[..rows / 2].fill(1.0);
            counts[rows / 2..rows].fill(0.0);
        }
        for keep in [1, n.div_ceil(10), n - 1] {
            let mut case = Case::new(&format!("{dims:?}, {samples} samples of {rows} rows, {keep} kept"));
            let (x, step) = (case.random(&dims), case.tensor(&[], &[3.0]));
            let mask = [samples, rows];
            let masks = [case.tensor(&mask, &counts), case.integers(&mask, -1..2), case.truths(&mask)];
            for form in [topk, topk_gaps] {
                for mask in masks {
                    let packed = case.op("compress", &[x, mask], form(&dims, samples, keep, DType::F16), &[]);
                    case.op("decompress", &[packed], f32(&dims), &[]);
                }
                let (ty, seed) = (form(&dims, samples, keep, DType::I8), [("seed", Value::Int(5))]);
                for operands in [&[x, masks[0]][..], &[x, step, masks[0]]] {
                    let packed = case.op("compress", operands, ty.clone(), &seed);
                    case.op("decompress", &[packed], f32(&dims), &[]);
                }
            }
            case.check(4e-6);
        }
    }
}

#[test]
fn rounded_tensors() {
    for dims in [&[][..], &[5], &[6, 700], &[3, 2, 65], &[4, 9001], &[197, 16], &[3, 1]] {
        let mut case = Case::new(&format!("{dims:?} rounded"));
        let (x, step) = (case.random(dims), case.tensor(&[], &[70_000.0]));
        let seed = [("seed", Value::Int(-77))];
        for (bits, block) in [(8, 16), (8, 64), (4, 48), (4, 256), (2, 16), (2, 65_536)] {
            let without: &[(&str, Value)] = &[];
            for (operands, attrs) in [(&[x][..], without), (&[x], &seed), (&[x, step], &seed)] {
                let rounded = case.op("quantize", operands, quant(dims, bits, block), attrs);
                case.op("dequantize", &[rounded], f32(dims), &[]);
            }
        }
        case.check(4e-6);
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
