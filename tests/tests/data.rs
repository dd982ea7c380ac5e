//! Data sets and loaders: what they accept, what they refuse and say, and that their batches depend on nothing but the
//! seed and the place in the run.

#[path = "data/broken.rs"]
mod broken;
#[path = "data/loading.rs"]
mod loading;
#[path = "data/opening.rs"]
mod opening;
#[path = "data/refusing.rs"]
mod refusing;
#[path = "data/segmentation.rs"]
mod segmentation;
#[path = "data/shared.rs"]
mod shared;
#[path = "data/texts.rs"]
mod texts;
#[path = "data/tokens.rs"]
mod tokens;

use std::fs;
use std::path::PathBuf;

use image::{Rgb, RgbImage};
use ndarray::{Array, Array1, Array2, Dimension};
use ndarray_npy::{WritableElement, write_npy};
use razorc_proto::program::task::Kind;
use razorc_runtime::data::{
    Column, DataError, Dataset, Expect, Input, Loader, Numbers, Options, Order, Target, Targets, Transform,
};
use razorc_runtime::rng::Rng;
use tempfile::TempDir;

fn classes(input: &[usize], count: usize) -> Expect {
    named(input, count, &[])
}

fn named(input: &[usize], count: usize, names: &[&str]) -> Expect {
    let names = names.iter().map(|it| it.to_string()).collect();
    let target = Target::Class { count, names, dims: vec![], ignore: -100 };
    Expect { inputs: vec![real("x", input)], target, kind: Kind::Classification, padded: true }
}

fn values(input: &[usize], dims: &[usize], unit: bool) -> Expect {
    let target = Target::Values { dims: dims.to_vec(), unit };
    Expect { inputs: vec![real("x", input)], target, kind: Kind::Regression, padded: true }
}

fn real(name: &str, dims: &[usize]) -> Input {
    Input { name: name.into(), dims: dims.to_vec(), numbers: Numbers::Real }
}

fn whole(name: &str, dims: &[usize], end: u64) -> Input {
    Input { name: name.into(), dims: dims.to_vec(), numbers: Numbers::Whole { end: Some(end) } }
}

fn preset(name: &str) -> Transform {
    Transform::preset(name).unwrap()
}

fn npy<T: WritableElement, D: Dimension>(dir: &TempDir, name: &str, array: &Array<T, D>) -> PathBuf {
    let path = dir.path().join(name);
    write_npy(&path, array).unwrap();
    path
}

/// `n` rows of 3 numbers, 10 * row + column, with class row % 4.
fn numbered(dir: &TempDir, n: usize) -> Dataset {
    let x = npy(dir, "x.npy", &Array2::from_shape_fn((n, 3), |(row, column)| (10 * row + column) as f32));
    let y = npy(dir, "y.npy", &Array1::from_shape_fn(n, |row| (row % 4) as i64));
    Dataset::open(&x, Some(&y), &classes(&[3], 4), &Options::default()).unwrap()
}

/// A folder with `n` noise images of 12 by 10 in each class.
fn folder(dir: &TempDir, names: &[&str], n: usize) -> PathBuf {
    let root = dir.path().join("images");
    for (class, name) in names.iter().enumerate() {
        fs::create_dir_all(root.join(name)).unwrap();
        for idx in 0..n {
            let image = noise(12, 10, (class * 100 + idx) as u64);
            image.save(root.join(name).join(format!("{idx:03}.png"))).unwrap();
        }
    }
    root
}

fn noise(width: u32, height: u32, seed: u64) -> RgbImage {
    let mut rng = Rng::keyed(&[seed]);
    RgbImage::from_fn(width, height, |_, _| Rgb([0u8; 3].map(|_| rng.bits() as u8)))
}

/// Everything that a batch holds; numbers as bits.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    place: (u64, u64),
    len: usize,
    input: Vec<u32>,
    targets: Vec<i64>,
    rows: Vec<f32>,
}

fn next(loader: &mut Loader) -> Option<Seen> {
    loader.next_batch().unwrap().map(|it| Seen {
        place: (it.epoch, it.number),
        len: it.len,
        input: match it.inputs.first() {
            Some(Column::Real(numbers)) => numbers.iter().map(|value| value.to_bits()).collect(),
            other => panic!("{other:?} is no input of floats"),
        },
        targets: match it.targets {
            Targets::None => vec![],
            Targets::Classes(classes) => classes.to_vec(),
            Targets::Values(values) => values.iter().map(|value| i64::from(value.to_bits())).collect(),
        },
        rows: it.rows.to_vec(),
    })
}

/// The batches of an evaluation.
fn all(dataset: &Dataset, transform: &Transform, batch: usize) -> Vec<Seen> {
    let mut loader = Loader::new(dataset, transform, batch, Order::Sequential, 2).unwrap();
    std::iter::from_fn(|| next(&mut loader)).collect()
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|&it| f32::from_bits(it)).collect()
}

fn refusal(result: Result<impl Sized, DataError>) -> String {
    result.err().expect("this must be refused").to_string()
}
