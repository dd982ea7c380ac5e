use std::fs;

use ndarray::{Array1, Array2, array};
use ndarray_npy::NpzWriter;
use razorc_proto::program::task::Kind;
use razorc_runtime::data::{Column, Dataset, Expect, Options, Order, Target};
use tempfile::TempDir;

use super::texts::first;
use super::{npy, real, refusal, whole};

fn language(kind: Kind) -> Expect {
    let target = Target::Class { count: 9, names: vec![], dims: vec![4], ignore: -100 };
    let inputs = vec![whole("ids", &[4], 9), whole("attention_mask", &[4], 2)];
    Expect { inputs, target, kind, padded: true }
}

#[test]
fn each_input_is_fed_by_its_name() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.npz");
    let mut writer = NpzWriter::new(fs::File::create(&path).unwrap());
    writer.add_array("mask", &array![[1.0f32, 0.0], [1.0, 1.0]]).unwrap();
    writer.add_array("ids", &array![[3i32, 1], [0, 2]]).unwrap();
    writer.add_array("labels", &array![1u8, 0]).unwrap();
    writer.finish().unwrap();
    let expect = |end| {
        let target = Target::Class { count: 2, names: vec![], dims: vec![], ignore: -100 };
        let inputs = vec![whole("ids", &[2], end), real("mask", &[2])];
        Expect { inputs, target, kind: Kind::Classification, padded: true }
    };
    let dataset = Dataset::open(&path, None, &expect(4), &Options::default()).unwrap();
    let (inputs, targets) = first(&dataset, 3, Order::Sequential);
    // The third row is padding.
    assert_eq!(inputs[0], Column::Whole(vec![3, 1, 0, 2, 0, 0]));
    assert_eq!(inputs[1], Column::Real(vec![1.0, 0.0, 1.0, 1.0, 0.0, 0.0]));
    assert_eq!(targets, [1, 0, 0]);

    let refused = refusal(Dataset::open(&path, None, &expect(3), &Options::default()));
    assert!(refused.contains("row 0 holds 3, but the input `ids` takes whole numbers from 0 to 2"), "{refused}");
    let mut other = expect(4);
    other.inputs[1].name = "bias".into();
    let refused = refusal(Dataset::open(&path, None, &other, &Options::default()));
    assert!(refused.contains("no array `bias`") && refused.contains("mask.npy"), "{refused}");
}

#[test]
fn arrays_of_tokens_are_their_own_targets() {
    let dir = TempDir::new().unwrap();
    let rows = npy(&dir, "rows.npy", &array![[1i64, 2, 3, 4, 5], [5, 6, 7, 8, 1]]);
    let dataset = Dataset::open(&rows, None, &language(Kind::CausalLm), &Options::default()).unwrap();
    let (inputs, targets) = first(&dataset, 2, Order::Sequential);
    assert_eq!(inputs[0], Column::Whole(vec![1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(inputs[1], Column::Whole(vec![1; 8]));
    assert_eq!(targets, [2, 3, 4, 5, 6, 7, 8, 1]);

    // Nothing is known to come behind the last token of a row of the model's own length.
    let rows = npy(&dir, "rows.npy", &array![[1i64, 2, 0, 0]]);
    let mut options = Options::default();
    options.text.pad_token = Some(0);
    let dataset = Dataset::open(&rows, None, &language(Kind::CausalLm), &options).unwrap();
    let (inputs, targets) = first(&dataset, 1, Order::Sequential);
    assert_eq!(inputs[1], Column::Whole(vec![1, 1, 0, 0]));
    assert_eq!(targets, [2, -100, -100, -100]);

    let stream = npy(&dir, "stream.npy", &Array1::from_iter((0..14).map(|it| it as u16 % 9)));
    let dataset = Dataset::open(&stream, None, &language(Kind::CausalLm), &Options::default()).unwrap();
    assert_eq!(dataset.len(), 3);
    assert_eq!(first(&dataset, 3, Order::Sequential).1, [1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3]);
}

#[test]
fn arrays_of_tokens_that_do_not_fit_are_refused() {
    let dir = TempDir::new().unwrap();
    let says = |path: &std::path::Path, kind, part: &str| {
        let refused = refusal(Dataset::open(path, None, &language(kind), &Options::default()));
        assert!(refused.contains(part), "`{refused}` does not say `{part}`");
    };
    let high = npy(&dir, "high.npy", &array![[1i64, 2, 9, 4]]);
    says(&high, Kind::CausalLm, "high.npy: row 0 holds 9");
    says(&npy(&dir, "low.npy", &array![[1i64, 2, -1, 4]]), Kind::CausalLm, "row 0 holds -1");
    says(&npy(&dir, "half.npy", &array![[1.0f32, 2.5, 1.0, 4.0]]), Kind::CausalLm, "row 0 holds 2.5");
    says(&npy(&dir, "wide.npy", &Array2::<i64>::zeros((2, 6))), Kind::CausalLm, "shape [6]");
    says(&npy(&dir, "one.npy", &Array1::<i64>::zeros(1)), Kind::CausalLm, "has no rows");
    says(&npy(&dir, "rows.npy", &Array2::<i64>::zeros((2, 4))), Kind::MaskedLm, "--mask-token");
    says(&npy(&dir, "rows.npy", &Array2::<i64>::zeros((2, 4))), Kind::TokenClassification, "--targets");
}

#[test]
fn tokens_have_classes_from_an_array() {
    let dir = TempDir::new().unwrap();
    let rows = npy(&dir, "rows.npy", &array![[1i64, 2, 3, 4]]);
    let labels = npy(&dir, "labels.npy", &array![[0i64, -100, 8, 1]]);
    let expect = language(Kind::TokenClassification);
    let dataset = Dataset::open(&rows, Some(&labels), &expect, &Options::default()).unwrap();
    assert_eq!(first(&dataset, 1, Order::Sequential).1, [0, -100, 8, 1]);
    let labels = npy(&dir, "labels.npy", &array![[0i64, -1, 8, 1]]);
    let refused = refusal(Dataset::open(&rows, Some(&labels), &expect, &Options::default()));
    assert!(refused.contains("row 0 holds -1, which is no class of 0 to 8 (or -100"), "{refused}");
}
