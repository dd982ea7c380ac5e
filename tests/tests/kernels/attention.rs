use razorc_proto::program::attr::Value;

use crate::case::{Case, Id, f32, float, int};

/// Axes before the heads, heads of q and of k, queries, keys, columns of q and of v.
type Sizes = (&'static [usize], [usize; 2], [usize; 2], [usize; 2]);

fn all(case: &mut Case, (lead, [h, g], [t, s], [d, e]): Sizes, attrs: &[(&str, Value)], mask: Option<Id>) {
    let dims = |heads, rows, columns| [lead, &[heads, rows, columns]].concat();
    let (q, k, v) = (case.random(&dims(h, t, d)), case.random(&dims(g, s, d)), case.random(&dims(g, s, e)));
    let dy = case.random(&dims(h, t, e));
    let lse = f32(&[lead, &[h, t]].concat());
    let operands: Vec<Id> = [q, k, v].into_iter().chain(mask).collect();
    let made = case.ops("attention", &operands, &[Some(f32(&dims(h, t, e))), Some(lse)], attrs);
    case.ops("attention", &operands, &[Some(f32(&dims(h, t, e))), None], attrs);
    let operands: Vec<Id> = [dy, q, k, v, made[1]].into_iter().chain(mask).collect();
    let grads = [f32(&dims(h, t, d)), f32(&dims(g, s, d)), f32(&dims(g, s, e))].map(Some);
    case.ops("attention_grad", &operands, &grads, attrs);
    for one in 0..3 {
        let mut wanted = [None, None, None];
        wanted[one] = grads[one].clone();
        case.ops("attention_grad", &operands, &wanted, attrs);
    }
}

fn attrs(scale: f64, causal: usize, safe: usize) -> [(&'static str, Value); 3] {
    [("scale", float(scale)), ("causal", int(causal)), ("safe", int(safe))]
}

const SIZES: &[Sizes] = &[
    (&[], [1, 1], [1, 1], [1, 1]),
    (&[2], [3, 3], [5, 7], [4, 3]),
    (&[2], [2, 2], [197, 197], [64, 64]),
    (&[3], [4, 2], [33, 33], [8, 8]),
    (&[2, 2], [4, 1], [70, 3], [17, 50]),
    (&[1], [2, 1], [130, 300], [300, 20]),
];

#[test]
fn attention_of_any_shape() {
    for &sizes in SIZES {
        for causal in [0, 1] {
            let mut case = Case::new(&format!("{sizes:?} {causal}"));
            all(&mut case, sizes, &attrs(0.5, causal, 0), None);
            case.check(2e-5);
        }
    }
}

#[test]
fn keys_that_do_not_fit_in_scratch_come_in_blocks() {
    for &sizes in SIZES {
        for causal in [0, 1] {
            let mut case = Case::new(&format!("little {sizes:?} {causal}")).scratch(0);
            all(&mut case, sizes, &attrs(0.5, causal, 0), None);
            case.check(2e-5);
        }
    }
    let mut case = Case::new("long");
    all(&mut case, (&[1], [2, 2], [70, 3000], [8, 8]), &attrs(1.0, 0, 0), None);
    case.check(2e-5);
}

#[test]
fn masks_are_broadcast() {
    let sizes: Sizes = (&[2, 3], [4, 2], [9, 150], [5, 6]);
    let masks: [&[usize]; 7] =
        [&[150], &[1], &[9, 150], &[3, 1, 9, 1], &[2, 1, 1, 1, 150], &[2, 3, 4, 9, 150], &[1, 3, 4, 1, 1]];
    for dims in masks {
        for (causal, scratch) in [(0, 0), (1, 0), (0, 1 << 20)] {
            let mut case = Case::new(&format!("mask {dims:?} {causal} {scratch}")).scratch(scratch);
            let mask = case.random(dims);
            all(&mut case, sizes, &attrs(0.5, causal, 0), Some(mask));
            case.check(2e-5);
        }
    }
}

/// Masked keys weigh nothing. A row that sees nothing is not a number, or zero if that is foreseen, where -inf hides, and
/// sees all alike where a number does, however large.
#[test]
fn masks_hide_keys() {
    let inf = f32::NEG_INFINITY;
    let cases =
        [(-1e4, 0, 0), (-1e30, 0, 1), (f32::MIN, 0, 0), (inf, 0, 0), (inf, 1 << 20, 0), (inf, 0, 1), (inf, 1 << 20, 1)];
    for (hidden, scratch, safe) in cases {
        let mut case = Case::new(&format!("hidden {hidden} {scratch} {safe}")).scratch(scratch);
        let mut mask = vec![0.0; 6 * 400];
        let rows: [std::ops::Range<usize>; 6] = [0..0, 0..390, 10..400, 150..160, 1..400, 0..400];
        for (row, hide) in rows.into_iter().enumerate() {
            hide.for_each(|key| mask[row * 400 + key] = hidden);
        }
        let mask = case.tensor(&[6, 400], &mask);
        all(&mut case, (&[2], [1, 1], [6, 400], [3, 4]), &attrs(1.0, 0, safe), Some(mask));
        case.check(2e-5);
    }
}
