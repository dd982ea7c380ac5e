use std::fs;

use ndarray::Array2;
use razorc_runtime::data::{Dataset, Loader, Options, Order, Transform};
use tempfile::TempDir;

use super::{all, classes, floats, folder, next, npy, numbered, preset, refusal, values};

fn shuffled(seed: u64, epoch: u64, batch: u64) -> Order {
    Order::Shuffled { seed, epoch, batch }
}

#[test]
fn evaluation_pads_its_last_batch() {
    let dir = TempDir::new().unwrap();
    let batches = all(&numbered(&dir, 7), &preset("raw"), 3);
    assert_eq!(batches.iter().map(|it| it.len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(floats(&batches[1].input), [30., 31., 32., 40., 41., 42., 50., 51., 52.]);
    assert_eq!(floats(&batches[2].input), [60., 61., 62., 0., 0., 0., 0., 0., 0.]);
    assert_eq!(batches[2].targets, [2, 0, 0]);
    assert_eq!(batches[2].rows, [1., 0., 0.]);
}

#[test]
fn values_are_targets_too() {
    let dir = TempDir::new().unwrap();
    let x = npy(&dir, "x.npy", &Array2::<f32>::zeros((5, 3)));
    let y = npy(&dir, "y.npy", &Array2::from_shape_fn((5, 2), |(row, it)| row as f32 / 4.0 + it as f32));
    let dataset = Dataset::open(&x, Some(&y), &values(&[3], &[2], false), &Options::default()).unwrap();
    let batches = all(&dataset, &preset("raw"), 2);
    assert_eq!(batches[1].targets, [0.5f32, 1.5, 0.75, 1.75].map(|it| i64::from(it.to_bits())));
    assert_eq!(batches[2].targets[2..], [0, 0]);
    assert_eq!(batches[2].rows, [1., 0.]);
}

#[test]
fn every_epoch_is_another_permutation() {
    let dir = TempDir::new().unwrap();
    let mut loader = Loader::new(&numbered(&dir, 60), &preset("raw"), 12, shuffled(5, 0, 0), 3).unwrap();
    let mut epochs = Vec::new();
    for epoch in 0..3 {
        let mut rows = Vec::new();
        for number in 0..loader.batches() {
            let batch = next(&mut loader).unwrap();
            assert_eq!((batch.place, batch.len), ((epoch, number), 12));
            assert!(batch.rows.iter().all(|&weight| weight == 1.0));
            for (input, class) in floats(&batch.input).chunks(3).zip(&batch.targets) {
                let row = input[0] as i64 / 10;
                assert_eq!(row % 4, *class, "a row and its class stay together");
                rows.push(row);
            }
        }
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..60).collect::<Vec<_>>());
        epochs.push(rows);
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
}

#[test]
fn training_drops_the_rows_of_an_incomplete_batch() {
    let dir = TempDir::new().unwrap();
    let mut loader = Loader::new(&numbered(&dir, 11), &preset("raw"), 4, shuffled(1, 0, 0), 2).unwrap();
    assert_eq!(loader.batches(), 2);
    let places: Vec<_> = (0..4).map(|_| next(&mut loader).unwrap().place).collect();
    assert_eq!(places, [(0, 0), (0, 1), (1, 0), (1, 1)]);
}

#[test]
fn resuming_anywhere_equals_continuing_for_any_number_of_threads() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["a", "b"], 9);
    let transform = Transform { flip: true, random_crop: true, resize: 9, ..preset("imagenet") };
    for cache_bytes in [1 << 20, 0] {
        let options = Options { cache_bytes, ..Options::default() };
        let dataset = Dataset::open(&root, None, &classes(&[3, 7, 7], 2), &options).unwrap();
        let loader = |order, threads| Loader::new(&dataset, &transform, 5, order, threads).unwrap();
        let mut first = loader(shuffled(11, 0, 0), 1);
        assert_eq!(first.batches(), 3);
        let run: Vec<_> = (0..9).map(|_| next(&mut first).unwrap()).collect();
        for (start, threads) in [(0, 4), (1, 2), (4, 3), (8, 1)] {
            let mut resumed = loader(shuffled(11, start / 3, start % 3), threads);
            for expected in &run[start as usize..] {
                assert_eq!(next(&mut resumed).as_ref(), Some(expected));
            }
        }
        assert_eq!(next(&mut loader(shuffled(11, 0, 3), 2)).as_ref(), Some(&run[3]), "one past the last batch");
        assert_ne!(next(&mut loader(shuffled(12, 0, 0), 2)).as_ref(), Some(&run[0]), "another seed");
    }
}

#[test]
fn flips_are_drawn_anew_each_epoch_and_never_in_evaluation() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["a"], 1);
    let dataset = Dataset::open(&root, None, &classes(&[3, 10, 12], 1), &Options::default()).unwrap();
    let plain = all(&dataset, &preset("raw"), 1).remove(0).input;
    let flipping = Transform { flip: true, ..preset("raw") };
    assert_eq!(all(&dataset, &flipping, 1)[0].input, plain);
    let mirrored: Vec<u32> = plain.chunks(12).flat_map(|line| line.iter().rev().copied()).collect();
    let mut loader = Loader::new(&dataset, &flipping, 1, shuffled(0, 0, 0), 1).unwrap();
    let drawn: Vec<_> = (0..64).map(|_| next(&mut loader).unwrap().input).collect();
    assert!(drawn.iter().all(|input| *input == plain || *input == mirrored));
    let flips = drawn.iter().filter(|input| **input == mirrored).count();
    assert!((16..48).contains(&flips), "{flips} of 64 flipped");
}

#[test]
fn random_crops_stay_inside_and_move() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["a"], 1);
    let dataset = Dataset::open(&root, None, &classes(&[3, 10, 10], 1), &Options::default()).unwrap();
    // The stored height is 10, so only the column varies: 0, 1 or 2.
    let transform = Transform { random_crop: true, resize: 10, ..preset("raw") };
    let stored = super::noise(12, 10, 0);
    let crop = |left: u32| -> Vec<u32> {
        let place = |idx: u32| stored.get_pixel(idx % 10 + left, idx / 10 % 10)[(idx / 100) as usize];
        (0..300).map(|idx| f32::from(place(idx)).to_bits()).collect()
    };
    let mut loader = Loader::new(&dataset, &transform, 1, shuffled(2, 0, 0), 1).unwrap();
    let mut seen = [0; 3];
    for _ in 0..60 {
        let input = next(&mut loader).unwrap().input;
        let left = (0..3).find(|&left| input == crop(left)).expect("a crop of the stored image");
        seen[left as usize] += 1;
    }
    assert!(seen.iter().all(|&times| 8 < times), "{seen:?}");
    assert_eq!(all(&dataset, &transform, 1)[0].input, crop(1), "evaluation takes the center");
}

#[test]
fn a_split_is_stratified_disjoint_and_repeatable() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["a", "b", "c"], 20);
    let dataset = Dataset::open(&root, None, &classes(&[3, 4, 4], 3), &Options::default()).unwrap();
    let rows = |it: &Dataset| all(it, &preset("raw"), 1);
    let labels = |it: &Dataset| rows(it).into_iter().map(|it| it.targets[0]).collect::<Vec<_>>();
    let inputs = |it: &Dataset| rows(it).into_iter().map(|it| it.input).collect::<Vec<_>>();
    let (training, validation) = dataset.split(0.2, 3).unwrap();
    assert_eq!(labels(&training), [[0; 16], [1; 16], [2; 16]].concat());
    assert_eq!(labels(&validation), [[0; 4], [1; 4], [2; 4]].concat());
    let mut both = [inputs(&training), inputs(&validation)].concat();
    let mut whole = inputs(&dataset);
    both.sort();
    whole.sort();
    assert_eq!(both, whole);
    assert_eq!(inputs(&dataset.split(0.2, 3).unwrap().1), inputs(&validation));
    assert_ne!(inputs(&dataset.split(0.2, 4).unwrap().1), inputs(&validation));
    for fraction in [0.0, 1.0, -0.1, 0.001, f64::NAN] {
        assert!(refusal(dataset.split(fraction, 3)).contains("of 60 rows"));
    }
    assert_eq!(labels(&dataset.take(7).unwrap()), [0, 0, 0, 1, 1, 2, 2], "the classes of a folder take turns");
    assert_eq!(dataset.take(1000).unwrap().len(), 60);
}

#[test]
fn the_first_rows_of_an_array_are_taken_as_they_come() {
    let dir = TempDir::new().unwrap();
    let dataset = numbered(&dir, 10);
    assert_eq!(all(&dataset.take(3).unwrap(), &preset("raw"), 3)[0].targets, [0, 1, 2]);
    assert!(refusal(dataset.take(0)).contains("no rows"));
}

#[test]
fn training_needs_one_full_batch_and_a_sane_place() {
    let dir = TempDir::new().unwrap();
    let dataset = numbered(&dir, 5);
    let start = |batch, order| refusal(Loader::new(&dataset, &preset("raw"), batch, order, 1));
    assert!(start(6, shuffled(0, 0, 0)).contains("5 rows do not fill a batch of 6"));
    assert!(start(5, shuffled(0, u64::MAX, 1)).contains("no place to start"));
}

#[test]
fn memory_is_stated_and_grows_with_the_batch() {
    let dir = TempDir::new().unwrap();
    let dataset = numbered(&dir, 64);
    let bytes = |batch| Loader::new(&dataset, &preset("raw"), batch, Order::Sequential, 2).unwrap().bytes();
    assert!(64 * 3 * 4 <= dataset.bytes());
    // Two batches of inputs, classes and weights are held.
    assert_eq!(bytes(16) - bytes(8), 2 * 8 * (3 * 4 + 8 + 4));
}

#[test]
fn a_file_that_vanishes_stops_the_loader_and_is_named() {
    let dir = TempDir::new().unwrap();
    let root = folder(&dir, &["a"], 4);
    let options = Options { cache_bytes: 0, ..Options::default() };
    let dataset = Dataset::open(&root, None, &classes(&[3, 4, 4], 1), &options).unwrap();
    fs::remove_file(root.join("a/002.png")).unwrap();
    let mut loader = Loader::new(&dataset, &preset("raw"), 1, Order::Sequential, 2).unwrap();
    assert_eq!(next(&mut loader).unwrap().place, (0, 0));
    assert_eq!(next(&mut loader).unwrap().place, (0, 1));
    assert!(loader.next_batch().unwrap_err().to_string().contains("002.png could be read before"));
    assert!(loader.next_batch().unwrap().is_none());
}
