use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use razorc_proto::program::task::Kind;
use razorc_runtime::data::{Column, Dataset, Expect, Loader, Options, Order, Target, Targets, Transform};
use tempfile::TempDir;

use super::{preset, real, refusal};

fn pixels(size: usize, count: usize) -> Expect {
    let target = Target::Class { count, names: vec![], dims: vec![size, size], ignore: 255 };
    Expect { inputs: vec![real("x", &[3, size, size])], target, kind: Kind::Segmentation, padded: true }
}

/// Images whose left half is dark and of class 0, and whose right half is bright and of class 1; the corner counts
/// nothing.
fn scenes(dir: &TempDir, n: u32) -> PathBuf {
    let root = dir.path().join("scenes");
    for part in ["images", "masks"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    for idx in 0..n {
        let image = RgbImage::from_fn(12, 8, |x, _| Rgb([if x < 6 { 0 } else { 250 }; 3]));
        image.save(root.join(format!("images/{idx}.png"))).unwrap();
        let class = |x: u32, y: u32| if x + y == 0 { 255 } else { u8::from(6 <= x) };
        GrayImage::from_fn(12, 8, |x, y| Luma([class(x, y)])).save(root.join(format!("masks/{idx}.png"))).unwrap();
    }
    root
}

fn batches(dataset: &Dataset, transform: &Transform, order: Order) -> (Vec<f32>, Vec<i64>) {
    let mut loader = Loader::new(dataset, transform, dataset.len(), order, 2).unwrap();
    let batch = loader.next_batch().unwrap().unwrap();
    match (&batch.inputs[0], batch.targets) {
        (Column::Real(x), Targets::Classes(y)) => (x.clone(), y.to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn masks_follow_their_images() {
    let dir = TempDir::new().unwrap();
    let dataset = Dataset::open(&scenes(&dir, 40), None, &pixels(8, 2), &Options::default()).unwrap();
    let (_, y) = batches(&dataset, &preset("raw"), Order::Sequential);
    assert_eq!(y[..8], [255, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(y[8..16], [0, 0, 0, 0, 1, 1, 1, 1]);

    // Wherever training crops and mirrors, dark is class 0 and bright is class 1.
    let transform = Transform { flip: true, random_crop: true, ..preset("raw") };
    let (x, y) = batches(&dataset, &transform, Order::Shuffled { seed: 1, epoch: 0, batch: 0 });
    let (mut seen, mut mirrored) = ([0, 0], 0);
    for (x, y) in x.chunks(3 * 64).zip(y.chunks(64)) {
        mirrored += usize::from(x[7] < x[0]);
        for (&value, &class) in x.iter().zip(y) {
            match class {
                0 if value < 100.0 => seen[0] += 1,
                1 if 150.0 < value => seen[1] += 1,
                255 => {}
                _ => assert!((20.0..230.0).contains(&value), "{value} is of class {class}"),
            }
        }
    }
    assert!(seen.iter().all(|it| 500 < *it) && (8..32).contains(&mirrored), "{seen:?}, {mirrored} mirrored");
}

#[test]
fn palettes_hold_indices_and_files_need_not_be_kept_in_memory() {
    let dir = TempDir::new().unwrap();
    let root = scenes(&dir, 1);
    let file = fs::File::create(root.join("masks/0.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 12, 8);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Four);
    encoder.set_palette(vec![9u8; 48]);
    // Pixels 2 and 1 in each byte.
    encoder.write_header().unwrap().write_image_data(&[0x21; 48]).unwrap();
    for cache_bytes in [1 << 20, 0] {
        let options = Options { cache_bytes, ..Options::default() };
        let dataset = Dataset::open(&root, None, &pixels(4, 3), &options).unwrap();
        // The middle of the first of four columns lies in the second of twelve pixels.
        assert_eq!(batches(&dataset, &preset("raw"), Order::Sequential).1[..4], [1, 2, 1, 2]);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let dir = TempDir::new().unwrap();
    let root = scenes(&dir, 2);
    let says = |root: &Path, expect: &Expect, part: &str| {
        let refused = refusal(Dataset::open(root, None, expect, &Options::default()));
        assert!(refused.contains(part), "`{refused}` does not say `{part}`");
    };
    says(&root, &pixels(8, 1), "masks/0.png: pixel 6, 0 is 1, which is no class of 0 to 0 (or 255");
    fs::remove_file(root.join("masks/1.png")).unwrap();
    says(&root, &pixels(8, 2), "no mask for 1");
    RgbImage::new(12, 8).save(root.join("masks/1.png")).unwrap();
    says(&root, &pixels(8, 2), "masks/1.png: the mask is no PNG of class indices");
    GrayImage::new(12, 9).save(root.join("masks/1.png")).unwrap();
    says(&root, &pixels(8, 2), "the mask is 12 x 9, but its image 12 x 8");
    fs::write(root.join("masks/1.png"), "no picture").unwrap();
    says(&root, &pixels(8, 2), "masks/1.png: the mask is no PNG");
    fs::remove_dir_all(root.join("images")).unwrap();
    says(&root, &pixels(8, 2), "images");
}
