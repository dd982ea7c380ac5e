use razorc_proto::program::DType;

use crate::case::{Case, dense, f32, int, ints};

#[test]
fn folds_over_any_axes() {
    let shapes: [&[usize]; 3] = [&[40_007], &[9, 300, 41], &[200, 3, 90]];
    for dims in shapes {
        for axes in [vec![0], vec![dims.len() - 1], (0..dims.len()).collect(), (0..dims.len()).step_by(2).collect()] {
            let mut case = Case::new(&format!("{dims:?} over {axes:?}"));
            let (x, integers) = (case.random(dims), case.integers(dims, -9..9));
            let near_one = case.positive(dims);
            let y: Vec<_> = (0..dims.len()).map(|it| if axes.contains(&it) { 1 } else { dims[it] }).collect();
            let attrs = [("axes", ints(&axes)), ("keepdims", int(1))];
            for op in ["reduce_max", "reduce_min"] {
                case.op(op, &[x], f32(&y), &attrs);
                case.op(op, &[integers], dense(DType::I64, &y), &attrs);
            }
            case.op("reduce_sum", &[integers], dense(DType::I64, &y), &attrs);
            case.op("reduce_prod", &[integers], dense(DType::I64, &y), &attrs);
            if axes.iter().map(|&it| dims[it]).product::<usize>() < 100 {
                let product = case.op("reduce_prod", &[near_one], f32(&y), &attrs);
                case.op("reduce_prod_grad", &[product, near_one], f32(dims), &attrs[..1]);
                case.op("reduce_prod_grad", &[product, x], f32(dims), &attrs[..1]);
            }
            case.check(2e-4);
        }
    }
}

#[test]
fn runs_and_orders_along_any_axis() {
    for (dims, axis) in [([30, 70, 9], 0), ([30, 70, 9], 1), ([9, 5, 700], 2), ([1, 1, 3000], 2)] {
        let mut case = Case::new(&format!("axis {axis} of {dims:?}"));
        let (x, integers) = (case.random(&dims), case.integers(&dims, -3..3));
        for (exclusive, reverse) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let attrs = [("axis", int(axis)), ("exclusive", int(exclusive)), ("reverse", int(reverse))];
            case.op("cumsum", &[x], f32(&dims), &attrs);
            case.op("cumsum", &[integers], dense(DType::I64, &dims), &attrs);
        }
        for largest in [0, 1] {
            let mut one = dims;
            one[axis] = 1;
            for last in [0, 1] {
                let attrs = [("axis", int(axis)), ("largest", int(largest)), ("last", int(last))];
                case.op("arg_extreme", &[x], dense(DType::I64, &one), &attrs);
                case.op("arg_extreme", &[integers], dense(DType::I64, &one), &attrs);
            }
            for k in [1, 5, dims[axis]] {
                let mut y = dims;
                y[axis] = k;
                let attrs = [("axis", int(axis)), ("k", int(k)), ("largest", int(largest))];
                let (y, index) = (Some(f32(&y)), Some(dense(DType::I64, &y)));
                case.ops("top_k", &[x], &[y.clone(), index.clone()], &attrs);
                case.ops("top_k", &[x], &[y, None], &attrs);
                case.ops("top_k", &[x], &[None, index], &attrs);
            }
        }
        case.check(2e-4);
    }
}
