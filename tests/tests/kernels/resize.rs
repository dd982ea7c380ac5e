use razorc_proto::program::attr;

use crate::case::{Case, f32, float, int, ints};

#[test]
fn every_mode_along_every_axis() {
    for mode in ["nearest_floor", "nearest_ceil", "nearest_prefer_floor", "nearest_prefer_ceil", "linear", "cubic"] {
        for coordinates in ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"] {
            for (axis, size) in [(0, 5), (1, 9), (2, 17), (2, 3), (1, 1)] {
                check(&[2, 4, 7], axis, size, mode, coordinates, |it| it);
            }
        }
    }
}

#[test]
fn images() {
    check(&[2, 3, 28, 28], 3, 224, "linear", "half_pixel", |it| it);
    check(&[2, 3, 28, 224], 2, 224, "linear", "half_pixel", |it| it);
    check(&[2, 30, 65, 65], 2, 129, "nearest_floor", "asymmetric", |it| it);
}

#[test]
fn smooth_reductions() {
    for mode in ["linear", "cubic"] {
        check(&[3, 50], 1, 7, mode, "half_pixel", |it| Extra { antialias: 1, ..it });
        check(&[50, 3], 0, 1, mode, "half_pixel", |it| Extra { antialias: 1, exclude_outside: 1, ..it });
        check(&[3, 9], 1, 20, mode, "half_pixel", |it| Extra { antialias: 1, ..it });
    }
}

#[test]
fn crops() {
    for mode in ["nearest_prefer_floor", "linear", "cubic"] {
        check(&[3, 9, 2], 1, 12, mode, "tf_crop_and_resize", |it| Extra { roi: [-0.2, 1.3], ..it });
        check(&[3, 9], 1, 5, mode, "tf_crop_and_resize", |it| Extra { roi: [0.9, 0.1], ..it });
        check(&[3, 9], 1, 1, mode, "tf_crop_and_resize", |it| Extra { roi: [0.2, 0.5], ..it });
    }
}

struct Extra {
    exclude_outside: usize,
    antialias: usize,
    roi: [f64; 2],
}

fn check(x: &[usize], axis: usize, size: usize, mode: &str, coordinates: &str, change: impl Fn(Extra) -> Extra) {
    let extra = change(Extra { exclude_outside: 0, antialias: 0, roi: [0.0, 1.0] });
    let mut case = Case::new(&format!("{x:?} to {size} along {axis}, {mode} by {coordinates}"));
    let mut y = x.to_vec();
    y[axis] = size;
    let (x_id, dy_id) = (case.random(x), case.random(&y));
    let mut attrs = vec![
        ("axis", int(axis)),
        ("size", int(size)),
        ("scale", float(size as f64 / x[axis] as f64)),
        ("mode", attr::Value::Word(mode.into())),
        ("coordinates", attr::Value::Word(coordinates.into())),
        ("cubic", float(-0.75)),
        ("exclude_outside", int(extra.exclude_outside)),
        ("antialias", int(extra.antialias)),
        ("start", float(extra.roi[0])),
        ("end", float(extra.roi[1])),
        ("outside", float(0.5)),
    ];
    case.op("resize", &[x_id], f32(&y), &attrs);
    attrs.push(("shape", ints(x)));
    case.op("resize_grad", &[dy_id], f32(x), &attrs);
    case.check(1e-5);
}
