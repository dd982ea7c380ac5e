use razorc_proto::program::{DType, attr};

use crate::case::{Case, dense, f32, int, ints};

fn word(it: &str) -> attr::Value {
    attr::Value::Word(it.into())
}

#[test]
fn picks_and_puts_elements() {
    for (axis, data, at) in [(0, [90, 40], [300, 33]), (1, [50, 70], [50, 600]), (1, [400, 3], [399, 2])] {
        let mut case = Case::new(&format!("elements {data:?}"));
        let n = data[axis] as i64;
        let (x, indices) = (case.random(&data), case.integers(&at, -n - 1..n + 1));
        let y = case.op("gather_elements", &[x, indices], f32(&at), &[("axis", int(axis))]);
        case.op("gather_elements_grad", &[y, indices], f32(&data), &[("axis", int(axis)), ("shape", ints(&data))]);
        let (updates, integers, whole) = (case.random(&at), case.integers(&data, -9..9), case.integers(&at, -9..9));
        for how in ["none", "add", "min", "max"] {
            let attrs = [("axis", int(axis)), ("reduction", word(how))];
            case.op("scatter_elements", &[x, indices, updates], f32(&data), &attrs);
            case.op("scatter_elements", &[integers, indices, whole], dense(DType::I64, &data), &attrs);
        }
        let attrs = [("axis", int(axis)), ("reduction", word("clear"))];
        case.op("scatter_elements", &[x, indices], f32(&data), &attrs);
        case.check(2e-5);
    }
}

#[test]
fn picks_and_puts_slices() {
    // Elements, rows that straddle chunks, and rows of each batch entry.
    for (batch, data, at, y) in [
        (0, vec![30, 20, 5], vec![700, 3], vec![700]),
        (0, vec![40, 900], vec![6, 9, 1], vec![6, 9, 900]),
        (1, vec![8, 30, 70], vec![8, 90, 1], vec![8, 90, 70]),
    ] {
        let mut case = Case::new(&format!("slices {data:?}"));
        let (x, indices) = (case.random(&data), case.integers(&at, -5..5));
        let picked = case.op("gather_nd", &[x, indices], f32(&y), &[("batch_dims", int(batch))]);
        let attrs = [("batch_dims", int(batch)), ("shape", ints(&data))];
        case.op("gather_nd_grad", &[picked, indices], f32(&data), &attrs);
        if batch == 0 {
            let updates = case.random(&y);
            for how in ["none", "add", "mul", "max"] {
                case.op("scatter_nd", &[x, indices, updates], f32(&data), &[("reduction", word(how))]);
            }
            case.op("scatter_nd", &[x, indices], f32(&data), &[("reduction", word("clear"))]);
        }
        case.check(1e-4);
    }
}
