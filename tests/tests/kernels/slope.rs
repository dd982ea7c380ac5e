use razorc_proto::program::attr;

use crate::case::{Case, codes, f32, float, int, word};

#[test]
fn slopes_in_a_few_bits() {
    let functions: [(&str, Option<(&str, attr::Value)>); 9] = [
        ("gelu", Some(("approximate", word("none")))),
        ("gelu", Some(("approximate", word("tanh")))),
        ("silu", None),
        ("mish", None),
        ("hard_swish", None),
        ("softplus", None),
        ("softsign", None),
        ("elu", Some(("alpha", float(1.0)))),
        ("elu", Some(("alpha", float(1.75)))),
    ];
    for n in [1, 3, 63, 64, 65, 1000, 16_384, 40_007] {
        for (number, (function, own)) in functions.iter().enumerate() {
            let mut case = Case::new(&format!("{n} elements, {function} {number}"));
            // None of these has a slope in the middle between two levels, where rounding would decide.
            let x: Vec<f32> = (0..n).map(|i| ((i * 37 % 129) as f32 - 63.7) / 16.0).collect();
            let (x, dy) = (case.tensor(&[n], &x), case.random(&[n]));
            for bits in 2..=4 {
                let attrs: Vec<_> = [("function", word(function))].into_iter().chain(own.clone()).collect();
                let with_bits = [&attrs[..], &[("bits", int(bits))]].concat();
                let packed = case.op("slope_codes", &[x], codes(&[n], bits as u32), &with_bits);
                case.op("scale_by_codes", &[dy, packed], f32(&[n]), &attrs);
            }
            case.check(4e-6);
        }
    }
}

#[test]
fn rounding_to_16_bits() {
    let mut case = Case::new("16 bits");
    let x = case.random(&[1000]);
    case.op("round_f16", &[x], f32(&[1000]), &[]);
    case.check(0.0);
}
