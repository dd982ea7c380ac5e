use std::fs;
use std::path::Path;

use ndarray::{Array1, Array2};
use razorc_runtime::data::{Dataset, Expect, Loader, Options, Order, Transform};
use tempfile::TempDir;

use super::{all, classes, folder, named, npy, numbered, preset, refusal, values};

fn open(path: &Path, targets: Option<&Path>, expect: &Expect, parts: &[&str]) {
    says(&refusal(Dataset::open(path, targets, expect, &Options::default())), parts);
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
}

#[test]
fn arrays_that_do_not_fit_are_named() {
    let dir = TempDir::new().unwrap();
    let labels = |name: &str, labels: Vec<i64>| npy(&dir, name, &Array1::from_vec(labels));
    let x = npy(&dir, "x.npy", &Array2::<f32>::zeros((5, 3)));
    let good = labels("good.npy", vec![0, 1, 0, 1, 0]);
    let two = classes(&[3], 2);
    open(&x, None, &two, &["x.npy needs targets", "--targets"]);
    open(&x, Some(&labels("short.npy", vec![0; 4])), &two, &["5 rows", "short.npy has 4"]);
    open(&x, Some(&labels("high.npy", vec![0, 1, 0, 2, 0])), &two, &["high.npy: row 3 holds 2", "0 to 1"]);
    open(&x, Some(&labels("low.npy", vec![0, -1, 0, 2, 0])), &two, &["row 1 holds -1"]);
    open(&x, Some(&good), &classes(&[4], 2), &["shape [3]", "wants [4]"]);
    open(&x, Some(&x), &two, &["shape [3]", "one class index"]);
    open(&x, Some(&x), &values(&[3], &[2], false), &["shape [3]", "wants [2]"]);
    open(&dir.path().join("none.npy"), Some(&good), &two, &["none.npy"]);
    open(&dir.path().join("none.tar"), None, &two, &["none.tar is no data set"]);
    let half = npy(&dir, "half.npy", &Array1::from_vec(vec![0.0f32, 0.5, 0., 0., 0.]));
    open(&x, Some(&half), &two, &["row 1 holds 0.5"]);
    let words = npy(&dir, "words.npy", &Array2::from_elem((5, 3), 1u64));
    open(&words, Some(&good), &two, &["`<u8`", "little endian"]);
}

#[test]
fn numbers_that_break_training_are_named() {
    let dir = TempDir::new().unwrap();
    let labels = npy(&dir, "y.npy", &Array1::<u8>::zeros(5));
    let whole = npy(&dir, "whole.npy", &Array2::<f32>::zeros((5, 3)));
    let broken = |value: f64| {
        let mut array = Array2::<f64>::zeros((5, 3));
        array[[4, 1]] = value;
        npy(&dir, "broken.npy", &array)
    };
    open(&broken(f64::NAN), Some(&labels), &classes(&[3], 1), &["broken.npy: row 4 holds NaN"]);
    open(&broken(1e300), Some(&labels), &classes(&[3], 1), &["row 4 holds inf"]);
    open(&whole, Some(&broken(f64::INFINITY)), &values(&[3], &[3], false), &["row 4 holds inf"]);
    open(&whole, Some(&broken(1.25)), &values(&[3], &[3], true), &["row 4 holds 1.25", "0 to 1"]);
}

#[test]
fn folders_that_do_not_fit_are_named() {
    let dir = TempDir::new().unwrap();
    let image = classes(&[3, 4, 4], 2);
    let empty = dir.path().join("empty");
    fs::create_dir_all(&empty).unwrap();
    open(&empty, None, &image, &["no class folders"]);
    fs::create_dir_all(empty.join("a")).unwrap();
    open(&empty, None, &image, &["no .png or .jpg images"]);
    let root = folder(&dir, &["a", "b", "c"], 1);
    open(&root, None, &image, &["3 class folders", "2 classes", "--classes 3"]);
    open(&root, None, &classes(&[64], 3), &["[64] is no image"]);
    open(&root, None, &values(&[3, 4, 4], &[2], false), &["class indices", "[2]"]);
    open(&root, Some(&empty), &image, &["leave `--targets` out"]);
    open(&root, None, &named(&[3, 4, 4], 3, &["a", "b", "d"]), &["`c`", "a, b, d"]);
}

#[test]
fn few_unreadable_images_are_left_out_and_many_are_refused() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["a", "b"], 50);
    let expect = classes(&[3, 4, 4], 2);
    fs::write(root.join("a/007.png"), b"\x89PNG but not really").unwrap();
    let dataset = Dataset::open(&root, None, &expect, &Options::default()).unwrap();
    assert_eq!(dataset.len(), 99);
    assert_eq!(all(&dataset, &preset("raw"), 99)[0].targets.iter().sum::<i64>(), 50);
    says(&dataset.warnings()[0], &["1 of 100 images", "a/007.png"]);

    fs::write(root.join("b/003.png"), b"").unwrap();
    open(&root, None, &expect, &["2 of 100", "a/007.png", "b/003.png", "--skip-unreadable"]);
    let skipping = Options { skip_unreadable: true, ..Options::default() };
    assert_eq!(Dataset::open(&root, None, &expect, &skipping).unwrap().len(), 98);
}

#[test]
fn images_of_absurd_size_are_not_decoded() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["a"], 1);
    image::RgbImage::new(20_000, 1).save(root.join("a/wide.png")).unwrap();
    open(&root, None, &classes(&[3, 4, 4], 1), &["1 of 2 images", "a/wide.png"]);
}

#[test]
fn transforms_that_do_not_fit_the_input_are_refused() {
    let dir = TempDir::new().unwrap();
    let flat = numbered(&dir, 4);
    let images = Dataset::open(&folder(&dir, &["a"], 1), None, &classes(&[1, 8, 8], 1), &Options::default()).unwrap();
    let refuses = |dataset: &Dataset, transform, part| {
        says(&refusal(Loader::new(dataset, &transform, 1, Order::Sequential, 1)), &[part]);
    };
    refuses(&flat, preset("imagenet"), "`mean` has 3 numbers");
    refuses(&flat, Transform { flip: true, ..preset("raw") }, "need images");
    refuses(&flat, Transform { std: vec![0.0], ..preset("raw") }, "`std` not 0");
    refuses(&images, Transform { bgr: true, ..preset("raw") }, "3 channels");
    refuses(&images, Transform { resize: 7, ..preset("raw") }, "smaller than the input's 8 x 8");
}
