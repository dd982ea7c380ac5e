use std::fs;

use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array, Array1, Array2, Array4, ShapeBuilder};
use ndarray_npy::{NpzWriter, WritableElement};
use razorc_runtime::data::{Dataset, Options, Transform};
use tempfile::TempDir;

use super::{all, classes, floats, folder, named, noise, npy, preset, refusal};

#[test]
fn arrays_of_every_type_and_order_read_the_same() {
    check_type(|it| it);
    check_type(|it| it as i8);
    check_type(u16::from);
    check_type(i32::from);
    check_type(i64::from);
    check_type(f32::from);
    check_type(f64::from);
}

fn check_type<T: WritableElement>(convert: impl Fn(u8) -> T) {
    let dir = TempDir::new().unwrap();
    let value = |(row, a, b): (usize, usize, usize)| convert((row * 20 + a * 5 + b) as u8);
    let y = npy(&dir, "y.npy", &Array1::<u8>::zeros(4));
    let plain = npy(&dir, "plain.npy", &Array::from_shape_fn((4, 3, 5), value));
    let fortran = npy(&dir, "fortran.npy", &Array::from_shape_fn((4, 3, 5).f(), value));
    assert!(String::from_utf8_lossy(&fs::read(&fortran).unwrap()).contains("True"));
    let open = |path, cache_bytes| {
        let options = Options { cache_bytes, ..Options::default() };
        Dataset::open(path, Some(&y), &classes(&[3, 5], 1), &options)
    };
    let expected: Vec<f32> = (0..4).flat_map(|row| (0..15).map(move |it| (row * 20 + it) as f32)).collect();
    for (path, cache_bytes) in [(&plain, 1 << 20), (&plain, 0), (&fortran, 1 << 20)] {
        let batches = all(&open(path, cache_bytes).unwrap(), &preset("raw"), 4);
        assert_eq!(floats(&batches[0].input), expected);
    }
    assert!(refusal(open(&fortran, 0)).contains("numpy.ascontiguousarray"));
}

#[test]
fn byte_images_are_transposed_normalized_and_resized() {
    let dir = TempDir::new().unwrap();
    let pixel = |(row, y, x, c): (usize, usize, usize, usize)| (row * 100 + y * 20 + x * 4 + c) as u8;
    let x = npy(&dir, "x.npy", &Array4::from_shape_fn((2, 4, 4, 3), pixel));
    let y = npy(&dir, "y.npy", &Array1::from_vec(vec![0u8, 1]));
    let open = |input: &[usize]| Dataset::open(&x, Some(&y), &classes(input, 2), &Options::default()).unwrap();

    let transform = Transform { bgr: true, ..preset("imagenet") };
    let input = floats(&all(&open(&[3, 4, 4]), &transform, 2)[0].input);
    let (mean, std) = ([0.485f32, 0.456, 0.406], [0.229f32, 0.224, 0.225]);
    for (row, c, y, x) in [(0, 0, 0, 0), (1, 2, 3, 1), (0, 1, 2, 3), (1, 0, 3, 3)] {
        let expected = (f32::from(pixel((row, y, x, 2 - c))) * (1.0 / 255.0) as f32 - mean[c]) / std[c];
        assert_eq!(input[((row * 3 + c) * 4 + y) * 4 + x], expected);
    }

    // Halving weighs 3, 3, 1 at the border, so the columns 0, 4, 8, 12 become 20 / 7 and 64 / 7.
    let halved = floats(&all(&open(&[3, 2, 2]), &preset("raw"), 2)[0].input);
    assert!((halved[1] - halved[0] - 44.0 / 7.0).abs() < 1e-4, "{halved:?}");

    let last = floats(&all(&open(&[4, 4, 3]), &preset("raw"), 2)[0].input);
    assert_eq!(last[4 * 3..][..3], [20., 21., 22.], "channels last is kept where the input has it last");
}

#[test]
fn presets_mean_what_they_say() {
    let dir = TempDir::new().unwrap();
    let x = npy(&dir, "x.npy", &Array2::from_shape_vec((1, 2), vec![0u8, 255]).unwrap());
    let y = npy(&dir, "y.npy", &Array1::<u8>::zeros(1));
    let dataset = Dataset::open(&x, Some(&y), &classes(&[2], 1), &Options::default()).unwrap();
    let ends = |name| floats(&all(&dataset, &preset(name), 1)[0].input);
    assert_eq!(ends("raw"), [0.0, 255.0]);
    assert_eq!(ends("unit"), [0.0, 1.0]);
    assert_eq!(ends("signed"), [-1.0, 1.0]);
    assert!(Transform::preset("other").is_none());
}

#[test]
fn a_folder_gives_sorted_classes_and_exact_pixels() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["rose", "daisy"], 2);
    fs::write(root.join("rose/notes.txt"), "not an image").unwrap();
    for cache_bytes in [1 << 20, 0] {
        let options = Options { cache_bytes, ..Options::default() };
        let dataset = Dataset::open(&root, None, &classes(&[3, 10, 12], 2), &options).unwrap();
        assert_eq!(dataset.class_names(), ["daisy", "rose"]);
        assert!(dataset.warnings().len() == 1 && dataset.warnings()[0].ends_with("left out: 1"));
        let batch = all(&dataset, &preset("raw"), 4).remove(0);
        assert_eq!(batch.targets, [0, 0, 1, 1]);
        let daisy = noise(12, 10, 100);
        for (idx, value) in floats(&batch.input)[..360].iter().enumerate() {
            let (c, y, x) = (idx / 120, idx / 12 % 10, idx % 12);
            assert_eq!(*value, f32::from(daisy.get_pixel(x as u32, y as u32)[c]));
        }
    }
}

#[test]
fn known_class_names_decide_the_indices() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["a", "c"], 1);
    let expect = named(&[3, 4, 4], 3, &["c", "b", "a"]);
    let dataset = Dataset::open(&root, None, &expect, &Options::default()).unwrap();
    assert_eq!(all(&dataset, &preset("raw"), 2)[0].targets, [2, 0]);
}

#[test]
fn gray_inputs_take_luma_and_color_inputs_take_gray_files() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("images");
    fs::create_dir_all(root.join("a")).unwrap();
    RgbImage::from_pixel(4, 4, Rgb([10, 200, 30])).save(root.join("a/a.jpeg")).unwrap();
    GrayImage::from_pixel(4, 4, Luma([77])).save(root.join("a/gray.png")).unwrap();
    RgbImage::from_pixel(4, 4, Rgb([255, 0, 0])).save(root.join("a/red.PNG")).unwrap();
    let open = |input: &[usize]| Dataset::open(&root, None, &classes(input, 1), &Options::default()).unwrap();
    let gray = floats(&all(&open(&[1, 4, 4]), &preset("raw"), 3)[0].input);
    assert_eq!((gray[16], gray[32]), (77.0, 76.0));
    let color = floats(&all(&open(&[3, 4, 4]), &preset("raw"), 3)[0].input);
    assert_eq!([color[48], color[64], color[80]], [77.0; 3]);
    assert!((color[16] - 200.0).abs() <= 3.0, "jpeg is near, not exact");
}

#[test]
fn the_shorter_side_is_resized_and_the_center_is_taken() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("images");
    fs::create_dir_all(root.join("a")).unwrap();
    // Three vertical stripes; the middle one is the center square.
    let stripes = RgbImage::from_fn(60, 20, |x, _| Rgb([(x / 20 * 100) as u8; 3]));
    stripes.save(root.join("a/stripes.png")).unwrap();
    let dataset = Dataset::open(&root, None, &classes(&[3, 8, 8], 1), &Options::default()).unwrap();
    let input = floats(&all(&dataset, &Transform { resize: 8, ..preset("raw") }, 1)[0].input);
    assert!(input.chunks(8).all(|line| line[1..7].iter().all(|value| (value - 100.0).abs() < 1e-3)), "{input:?}");
    assert!(input[0] < 100.0 && 100.0 < input[7], "{input:?}");
}

#[test]
fn compressed_and_plain_npz_files_hold_x_and_y() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("data.npz");
    let x = Array2::from_shape_fn((6, 2), |(row, it)| (row * 2 + it) as f64);
    let y = Array1::from_vec(vec![0i32; 6]);
    let open = |cache_bytes| {
        let options = Options { cache_bytes, ..Options::default() };
        Dataset::open(&path, None, &classes(&[2], 1), &options)
    };
    let write = |compressed: bool, y_name: &str| {
        let file = fs::File::create(&path).unwrap();
        let mut npz = if compressed { NpzWriter::new_compressed(file) } else { NpzWriter::new(file) };
        npz.add_array("x", &x).unwrap();
        npz.add_array(y_name, &y).unwrap();
        npz.finish().unwrap();
    };
    let expected: Vec<f32> = (0..12).map(|it| it as f32).collect();
    write(true, "y");
    assert_eq!(floats(&all(&open(1 << 20).unwrap(), &preset("raw"), 6)[0].input), expected);
    assert!(refusal(open(50)).contains("without compression"));
    write(false, "y");
    assert_eq!(floats(&all(&open(1 << 20).unwrap(), &preset("raw"), 6)[0].input), expected);
    assert_eq!(floats(&all(&open(0).unwrap(), &preset("raw"), 6)[0].input), expected);
    write(false, "answers");
    let message = refusal(open(1 << 20));
    assert!(message.contains("no array `y`") && message.contains("answers.npy"), "{message}");
}
