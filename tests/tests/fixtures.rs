//! The fixtures are well-formed, always the same, and what their names promise.

use std::collections::HashSet;

use razorc_fixtures::{DIGITS_MODEL, awkward, cnn, digits, flattened_batch, mlp, mobile};
use razorc_proto::{Model, TensorData};

#[test]
fn fixtures_are_the_same_every_time() {
    for make in [awkward, cnn, flattened_batch, mlp, mobile] {
        assert!(make().encode() == make().encode());
    }
}

#[test]
fn every_name_is_defined_once_and_before_its_use() {
    for model in [awkward(), cnn(), flattened_batch(), mlp(), mobile(), Model::from_bytes(DIGITS_MODEL).unwrap()] {
        let graph = model.graph();
        let mut defined = HashSet::new();
        let given = graph.input.iter().map(|it| it.name()).chain(graph.initializer.iter().map(|it| it.name()));
        for name in given {
            assert!(defined.insert(name), "{name} twice");
        }
        for node in &graph.node {
            for name in &node.input {
                assert!(defined.contains(name.as_str()), "{}: {name} is not defined", graph.name());
            }
            for name in &node.output {
                assert!(defined.insert(name), "{}: {name} twice", graph.name());
            }
        }
        assert!(graph.output.iter().all(|it| defined.contains(it.name())));
        for initializer in &graph.initializer {
            TensorData::decode(initializer, None).unwrap();
        }
    }
}

#[test]
fn digits_are_split_into_train_and_test() {
    let all = digits();
    assert_eq!((all.train_y.len(), all.test_y.len()), (1435, 362));
    assert_eq!((all.train_x.len(), all.test_x.len()), (1435 * 64, 362 * 64));
    assert!(all.train_x.iter().chain(&all.test_x).all(|ink| (0.0..=1.0).contains(ink)));
    for digit in 0..10 {
        assert!(100 < all.train_y.iter().filter(|label| **label == digit).count());
        assert!(20 < all.test_y.iter().filter(|label| **label == digit).count());
    }
    let train: HashSet<_> = all.train_x.chunks_exact(64).map(bits).collect();
    assert!(all.test_x.chunks_exact(64).all(|image| !train.contains(&bits(image))));
}

fn bits(image: &[f32]) -> Vec<u32> {
    image.iter().map(|ink| ink.to_bits()).collect()
}

#[test]
fn chosen_digits_are_labelled_from_zero() {
    let all = digits();
    let (low, high) = (all.only(0..5), all.only(5..10));
    assert_eq!(low.train_y.len() + high.train_y.len(), all.train_y.len());
    assert!(high.test_y.iter().all(|label| (0..5).contains(label)));
    let first = all.test_y.iter().position(|label| 5 <= *label).unwrap();
    assert_eq!(high.test_y[0], all.test_y[first] - 5);
    assert_eq!(high.test_x[..64], all.test_x[first * 64..][..64]);
}

#[test]
fn the_digits_network_knows_digits_it_has_not_seen() {
    let model = Model::from_bytes(DIGITS_MODEL).unwrap();
    let weight = |name: &str| {
        let tensor = model.graph().initializer.iter().find(|it| it.name() == name).unwrap();
        TensorData::decode(tensor, None).unwrap().to_f32().unwrap()
    };
    let layers = ["conv1", "conv2", "conv3", "head"].map(|it| [format!("{it}.weight"), format!("{it}.bias")]);
    let layers = layers.map(|names| names.map(|name| weight(&name)));
    let [conv1, conv2, conv3, [head, head_bias]] = &layers;

    let test = digits().only(0..5);
    let images = test.test_x.chunks_exact(64).zip(&test.test_y).take(48);
    let right = images.filter(|(image, label)| {
        let x = conv_relu(&conv_relu(image, conv1, 8), conv2, 8);
        let x = conv_relu(&halved(&x, 8), conv3, 4);
        let row = |class: usize| head[class * x.len()..].iter().zip(&x).map(|(w, x)| w * x).sum::<f32>();
        let logits: Vec<f32> = (0..5).map(|class| head_bias[class] + row(class)).collect();
        let best = (0..5).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        best as i64 == **label
    });
    assert!(46 <= right.count());
}

/// A 3x3 convolution with zeros around, then ReLU, of square images.
fn conv_relu(x: &[f32], [w, b]: &[Vec<f32>; 2], side: usize) -> Vec<f32> {
    let mut y = Vec::new();
    for (bias, w) in b.iter().zip(w.chunks_exact(w.len() / b.len())) {
        for at in 0..side * side {
            let (row, col) = (at / side, at % side);
            let mut sum = *bias;
            for (x, w) in x.chunks_exact(side * side).zip(w.chunks_exact(9)) {
                for i in row.max(1) - 1..(row + 2).min(side) {
                    for j in col.max(1) - 1..(col + 2).min(side) {
                        sum += x[i * side + j] * w[(i + 1 - row) * 3 + (j + 1 - col)];
                    }
                }
            }
            y.push(sum.max(0.0));
        }
    }
    y
}

/// 2x2 max pooling of square images that are not negative.
fn halved(x: &[f32], side: usize) -> Vec<f32> {
    let half = side / 2;
    let mut y = vec![0f32; x.len() / 4];
    for (idx, x) in x.iter().enumerate() {
        let (channel, row, col) = (idx / (side * side), idx / side % side, idx % side);
        let at = &mut y[(channel * half + row / 2) * half + col / 2];
        *at = at.max(*x);
    }
    y
}
