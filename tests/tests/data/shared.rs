use razorc_runtime::data::{Dataset, Loader, Options, Order};
use razorc_tests::shared;

use super::{all, classes, floats, next, preset};

#[test]
fn a_folder_of_photos_and_its_arrays_agree() {
    let (Some(folder), Some(arrays)) = (shared("data/flowers128/test"), shared("data/flowers32")) else { return };
    let (x, y) = (arrays.join("test_x_u8_nhwc.npy"), arrays.join("test_y_u8.npy"));
    let expect = classes(&[3, 32, 32], 5);
    let arrays = Dataset::open(&x, Some(&y), &expect, &Options::default()).unwrap();
    let small = all(&arrays, &preset("raw"), 1);
    assert_eq!(small.len(), 800);

    // Too little cache for the decoded photos, so that they are decoded twice.
    let options = Options { cache_bytes: 1 << 20, ..Options::default() };
    let photos = Dataset::open(&folder, None, &expect, &options).unwrap();
    assert_eq!(photos.class_names(), ["daisy", "dandelion", "rose", "sunflower", "tulip"]);
    let mut files: Vec<(usize, usize)> = Vec::new();
    for (class, name) in photos.class_names().iter().enumerate() {
        let mut rows: Vec<usize> = std::fs::read_dir(folder.join(name))
            .unwrap()
            .map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().parse().unwrap())
            .collect();
        rows.sort_unstable();
        files.extend(rows.into_iter().map(|row| (class, row)));
    }
    let mut loader = Loader::new(&photos, &preset("raw"), 1, Order::Sequential, 2).unwrap();
    for (class, row) in files {
        let photo = next(&mut loader).unwrap();
        assert_eq!((photo.targets[0], small[row].targets[0]), (class as i64, class as i64));
        let (a, b) = (floats(&photo.input), floats(&small[row].input));
        let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32;
        assert!(apart < 12.0, "row {row}: the mean difference is {apart}");
    }
    assert!(next(&mut loader).is_none());
}
