//! Files: what is written is read back bit by bit, and what is damaged is refused with its reason.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use razorc_proto::onnx::tensor_proto::{DataLocation, DataType};
use razorc_proto::onnx::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use razorc_proto::program::r#type::IndexForm;
use razorc_proto::program::{DType, Program, Resident, Type};
use razorc_proto::{
    ExternalError, Model, ModelError, TensorData, TensorError, TrainerError, TrainerFile, replace, set_f32,
    write_trainer,
};
use razorc_tests::shared;

#[test]
fn every_shared_model_reencodes_to_the_same_bytes() {
    let Some(models) = shared("models") else { return };
    let mut files = Vec::new();
    collect(&models, &mut files);
    assert_ne!(files, Vec::<PathBuf>::new());
    for file in files {
        let model = Model::open(&file).unwrap();
        assert!(model.encode() == fs::read(&file).unwrap(), "{} changed", file.display());
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => collect(&path, files),
            path if path.extension().is_some_and(|it| it == "onnx") => files.push(path),
            _ => {}
        }
    }
}

#[test]
fn a_saved_model_is_the_model_that_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let bytes = tiny_model().encode_to_vec();
    fs::write(&path, &bytes).unwrap();
    let model = Model::open(&path).unwrap();
    model.save(folder.path().join("again.onnx")).unwrap();
    assert_eq!(fs::read(folder.path().join("again.onnx")).unwrap(), bytes);
    assert_eq!(model.digest(), Model::from_bytes(bytes).unwrap().digest());
    assert_eq!(model.folder(), Some(folder.path()));
}

#[test]
fn damaged_models_are_refused_with_their_reason() {
    let whole = tiny_model().encode_to_vec();
    let refused = |bytes: &[u8]| Model::from_bytes(bytes.to_vec()).unwrap_err();
    assert!(matches!(refused(b""), ModelError::Empty { .. }));
    assert!(matches!(refused(b"<!DOCTYPE html><html>"), ModelError::NotOnnx { .. }));
    assert!(matches!(refused(b"version https://git-lfs.github.com/spec/v1\n"), ModelError::LfsPointer { .. }));
    assert!(matches!(refused(&whole[..whole.len() - 10]), ModelError::Truncated { missing: 10, .. }));
    let graphless = ModelProto { graph: None, ..tiny_model() }.encode_to_vec();
    assert!(matches!(refused(&graphless), ModelError::NoGraph { .. }));
    assert!(matches!(Model::open("no/such.onnx").unwrap_err(), ModelError::Io { .. }));
    assert!(matches!(Model::open(".").unwrap_err(), ModelError::Io { .. }));
}

#[test]
fn mutated_models_never_panic() {
    let whole = tiny_model().encode_to_vec();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..20_000 {
        if let Ok(model) = Model::from_bytes(mutated(&whole, &mut rng)) {
            for tensor in &model.graph().initializer {
                if let Ok(data) = TensorData::decode(tensor, None) {
                    _ = (data.to_f32(), data.to_i64());
                }
            }
        }
    }
}

#[test]
fn tensors_decode_from_wherever_their_values_are() {
    let of = |dtype: DataType| TensorProto { dims: vec![2], data_type: Some(dtype.into()), ..TensorProto::default() };
    let floats = [
        TensorProto { float_data: vec![1.5, -2.0], ..of(DataType::Float) },
        TensorProto { double_data: vec![1.5, -2.0], ..of(DataType::Double) },
        TensorProto { int32_data: vec![0x3e00, 0xc000], ..of(DataType::Float16) },
        TensorProto { int32_data: vec![0x3fc0, 0xc000], ..of(DataType::Bfloat16) },
        TensorProto { raw_data: Some(vec![0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0].into()), ..of(DataType::Float) },
        TensorProto { raw_data: Some(vec![0, 0x3e, 0, 0xc0].into()), ..of(DataType::Float16) },
    ];
    for tensor in floats {
        let data = TensorData::decode(&tensor, None).unwrap();
        assert_eq!(data.to_f32().unwrap(), [1.5, -2.0], "{:?}", data.dtype);
        assert!(matches!(data.to_i64(), Err(TensorError::WrongType { .. })));
    }
    let ints = [
        TensorProto { int64_data: vec![7, -3], ..of(DataType::Int64) },
        TensorProto { int32_data: vec![7, -3], ..of(DataType::Int32) },
        TensorProto { int32_data: vec![7, -3], ..of(DataType::Int16) },
        TensorProto { int32_data: vec![7, -3], ..of(DataType::Int8) },
        TensorProto { raw_data: Some(vec![7, 0xfd].into()), ..of(DataType::Int8) },
    ];
    for tensor in ints {
        let data = TensorData::decode(&tensor, None).unwrap();
        assert_eq!(data.to_i64().unwrap(), [7, -3], "{:?}", data.dtype);
        assert!(matches!(data.to_f32(), Err(TensorError::WrongType { .. })));
    }
    let unsigned = [
        TensorProto { int32_data: vec![0, 1], ..of(DataType::Bool) },
        TensorProto { int32_data: vec![0, 1], ..of(DataType::Uint8) },
        TensorProto { int32_data: vec![0, 1], ..of(DataType::Uint16) },
        TensorProto { uint64_data: vec![0, 1], ..of(DataType::Uint32) },
        TensorProto { uint64_data: vec![0, 1], ..of(DataType::Uint64) },
    ];
    for tensor in unsigned {
        assert_eq!(TensorData::decode(&tensor, None).unwrap().to_i64().unwrap(), [0, 1]);
    }
    let huge = TensorProto { uint64_data: vec![0, u64::MAX], ..of(DataType::Uint64) };
    assert!(matches!(TensorData::decode(&huge, None).unwrap().to_i64(), Err(TensorError::TooLarge { .. })));
}

#[test]
fn tensors_that_contradict_themselves_are_refused() {
    let refused = |dims: &[i64], dtype: DataType| {
        let tensor = TensorProto {
            dims: dims.to_vec(),
            data_type: Some(dtype.into()),
            raw_data: Some(vec![0; 8].into()),
            ..TensorProto::default()
        };
        TensorData::decode(&tensor, None).unwrap_err()
    };
    assert!(matches!(refused(&[3], DataType::Float), TensorError::Length { has: 8, needed: 12, .. }));
    assert!(matches!(refused(&[-2], DataType::Float), TensorError::Dims { .. }));
    assert!(matches!(refused(&[i64::MAX, 4], DataType::Float), TensorError::Dims { .. }));
    assert!(matches!(refused(&[i64::MAX], DataType::Double), TensorError::Dims { .. }));
    assert!(matches!(refused(&[2], DataType::String), TensorError::Unsupported { .. }));
    let untyped = TensorError::Unsupported { tensor: "".into(), dtype: "no element type".into() }.to_string();
    assert_eq!(TensorData::decode(&TensorProto::default(), None).unwrap_err().to_string(), untyped);
}

#[test]
fn new_values_keep_the_type_of_a_tensor() {
    for dtype in [DataType::Float, DataType::Double, DataType::Float16, DataType::Bfloat16] {
        let mut tensor = TensorProto {
            dims: vec![1, 2],
            data_type: Some(dtype.into()),
            name: Some("w".into()),
            float_data: vec![9.0, 9.0],
            data_location: Some(DataLocation::External.into()),
            external_data: location(&[("location", "w.bin")]),
            ..TensorProto::default()
        };
        set_f32(&mut tensor, &[0.5, -4.0]).unwrap();
        let data = TensorData::decode(&tensor, None).unwrap();
        assert_eq!((data.dtype, data.name.as_str(), &data.dims[..]), (dtype, "w", &[1, 2][..]));
        assert_eq!(data.to_f32().unwrap(), [0.5, -4.0]);
        assert!(tensor.float_data.is_empty() && tensor.external_data.is_empty());
        assert!(matches!(set_f32(&mut tensor, &[1.0]), Err(TensorError::Length { .. })));
    }
    let mut ints = TensorProto { dims: vec![1], data_type: Some(DataType::Int64.into()), ..TensorProto::default() };
    assert!(matches!(set_f32(&mut ints, &[1.0]), Err(TensorError::WrongType { .. })));
}

#[test]
fn external_data_is_read_from_the_models_folder_alone() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("model");
    fs::create_dir_all(folder.join("weights")).unwrap();
    fs::write(folder.join("weights/w.bin"), [0, 0, 0, 0, 0, 0, 0xc0, 0x3f]).unwrap();
    fs::write(outside.path().join("secret.bin"), [0; 8]).unwrap();

    let read = |entries: &[(&str, &str)]| {
        let tensor = TensorProto {
            dims: vec![1],
            data_type: Some(DataType::Float.into()),
            data_location: Some(DataLocation::External.into()),
            external_data: location(entries),
            ..TensorProto::default()
        };
        TensorData::decode(&tensor, Some(&folder)).map(|data| data.to_f32().unwrap())
    };
    let w = ("location", "weights/w.bin");
    assert_eq!(read(&[w, ("offset", "4"), ("length", "4")]).unwrap(), [1.5]);
    assert_eq!(read(&[w, ("offset", "4")]).unwrap(), [1.5]);
    let refused = |entries: &[(&str, &str)]| match read(entries).unwrap_err() {
        TensorError::External(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(refused(&[]), ExternalError::NoLocation { .. }));
    assert!(matches!(refused(&[w, ("offset", "-1")]), ExternalError::NotANumber { key: "offset", .. }));
    assert!(matches!(refused(&[w, ("offset", "6"), ("length", "4")]), ExternalError::TooShort { has: 8, .. }));
    assert!(matches!(refused(&[w, ("offset", "9")]), ExternalError::TooShort { .. }));
    let far = u64::MAX.to_string();
    assert!(matches!(refused(&[w, ("offset", "4"), ("length", &far)]), ExternalError::TooShort { .. }));
    assert!(matches!(refused(&[("location", "../secret.bin")]), ExternalError::Outside { .. }));
    assert!(matches!(refused(&[("location", "weights/../../secret.bin")]), ExternalError::Outside { .. }));
    let absolute = outside.path().join("secret.bin");
    assert!(matches!(refused(&[("location", absolute.to_str().unwrap())]), ExternalError::Outside { .. }));
    assert!(matches!(refused(&[("location", "weights")]), ExternalError::Io { .. }));
    assert!(matches!(refused(&[("location", "absent.bin")]), ExternalError::Io { .. }));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&absolute, folder.join("link.bin")).unwrap();
        assert!(matches!(refused(&[("location", "link.bin")]), ExternalError::Outside { .. }));
    }
}

#[test]
fn sizes_follow_from_types() {
    assert_eq!(Type::dense(DType::F32, &[2, 3]).bytes(), Some(24));
    assert_eq!(Type::dense(DType::I64, &[]).bytes(), Some(8));
    assert_eq!(Type::bits(&[5, 13]).bytes(), Some(16));
    assert_eq!(Type::topk(&[2, 100], 2, 10, DType::F32).bytes(), Some(2 * (2 * 8 + 10 * 4)));
    assert_eq!(Type::topk(&[2, 100], 2, 10, DType::F16).bytes(), Some(2 * (2 * 8 + 10 * 2)));
    assert_eq!(Type::topk(&[2, 100], 2, 10, DType::I8).bytes(), Some(2 * (2 * 8 + 4 + 10)));
    // Three low bits: 30 bits of them, and 10 + 13 others.
    let gaps = |values| Type::topk(&[2, 100], 2, 10, values).with_form(IndexForm::Gaps);
    assert_eq!(gaps(DType::F16).bytes(), Some(2 * (8 + 8 + 10 * 2)));
    for nonsense in [
        Type { form: 2, ..gaps(DType::F16) },
        Type::dense(DType::DtypeUnspecified, &[1]),
        Type::dense(DType::F32, &[1 << 62]),
        Type::dense(DType::U8, &[1 << 33, 1 << 33]),
        Type::topk(&[2, 100], 0, 10, DType::F32),
        Type::topk(&[2, 100], 3, 10, DType::F32),
        Type::topk(&[2, 100], 2, 101, DType::F32),
        Type::topk(&[2, 100], 2, 10, DType::I32),
        Type { kind: 9, ..Type::dense(DType::F32, &[1]) },
    ] {
        assert_eq!(nonsense.bytes(), None, "{nonsense:?}");
    }
}

#[test]
fn a_trainer_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (path, first, third) = small_trainer(folder.path());
    let trainer = TrainerFile::open(&path).unwrap();
    assert_eq!(trainer.program().name, "small");
    assert_eq!(trainer.blob(0), Some(&first[..]));
    assert_eq!(trainer.blob(1), None);
    assert_eq!(trainer.blob(2), Some(&third[..]));
    assert_eq!(trainer.blob(3), None);
    assert_eq!(trainer.program().residents[2].blob.unwrap() % 64, 0);
    assert_eq!(fs::metadata(&path).unwrap().len() % 64, 0);
}

#[test]
fn a_blob_must_have_the_size_of_its_resident() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trainer");
    let refused = |blobs: &[Option<&[u8]>]| write_trainer(&path, &small_program(), blobs).unwrap_err();
    assert!(matches!(refused(&[Some(&[0; 11]), None, None]), TrainerError::Unwritable { .. }));
    assert!(matches!(refused(&[None, None]), TrainerError::Unwritable { .. }));
    assert!(!path.exists());
}

#[test]
fn refusals_say_what_is_wrong_with_a_trainer() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ..) = small_trainer(folder.path());
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| TrainerFile::from_bytes(&path, bytes.to_vec()).unwrap_err();
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        refused(&bytes)
    };
    assert!(matches!(refused(b""), TrainerError::NotATrainer { .. }));
    assert!(matches!(refused(&tiny_model().encode_to_vec()), TrainerError::NotATrainer { .. }));
    for length in 8..whole.len() {
        let error = refused(&whole[..length]);
        assert!(matches!(error, TrainerError::Truncated { has, .. } if has == length as u64), "{length}: {error}");
    }
    assert!(
        matches!(refused(&whole[..whole.len() - 1]), TrainerError::Truncated { needed, .. } if needed == whole.len() as u64)
    );
    assert!(damaged(24).to_string().contains("the program's checksum"));
    assert!(damaged(whole.len() - 64).to_string().contains("resident `third`"));
    assert!(refused(&[&whole[..], &[0]].concat()).to_string().contains("1 bytes follow"));
    let newer = [&whole[..8], &[2], &whole[9..]].concat();
    assert!(matches!(refused(&newer), TrainerError::Newer { version: 2, ours: 1, .. }));
    let mut program = small_program();
    program.version = 7;
    let newer = TrainerFile::from_bytes(&path, framed(&program.encode_to_vec())).unwrap_err();
    assert!(matches!(newer, TrainerError::Newer { version: 7, .. }));
}

#[test]
fn every_mutation_of_a_trainer_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ..) = small_trainer(folder.path());
    let whole = fs::read(&path).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..50_000 {
        let bytes = mutated(&whole, &mut rng);
        assert!(bytes == whole || TrainerFile::from_bytes(&path, bytes).is_err());
    }
}

#[test]
fn hostile_programs_with_good_checksums_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ..) = small_trainer(folder.path());
    let message = TrainerFile::open(&path).unwrap().program().encode_to_vec();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..50_000 {
        if let Ok(trainer) = TrainerFile::from_bytes(&path, framed(&mutated(&message, &mut rng))) {
            (0..4).for_each(|idx| _ = trainer.blob(idx));
        }
    }
    for blob in [u64::MAX, u64::MAX - 63, 1 << 63] {
        let mut program = small_program();
        program.version = 1;
        program.residents[0].blob = Some(blob);
        assert!(TrainerFile::from_bytes(&path, framed(&program.encode_to_vec())).is_err());
    }
}

#[test]
fn a_failed_write_leaves_the_old_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let full = |file: &mut dyn std::io::Write| {
        file.write_all(b"new")?;
        Err(std::io::ErrorKind::StorageFull.into())
    };
    assert_eq!(replace(&path, full).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    replace(&path, |file| file.write_all(b"new")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
}

/// As root, replacing `/dev/null` would break the machine.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = replace(&path, |file| file.write_all(b"new")).unwrap_err();
    assert_eq!(error.to_string(), "is not a regular file, so it is not replaced");
    assert!(!path.is_file() && path.exists());
    assert!(replace(folder.path(), |file| file.write_all(b"new")).is_err());
}

fn tiny_model() -> ModelProto {
    let weight = TensorProto {
        name: Some("w".into()),
        dims: vec![2, 3],
        data_type: Some(DataType::Float.into()),
        raw_data: Some(vec![1; 24].into()),
        ..TensorProto::default()
    };
    let shape = TensorProto {
        name: Some("shape".into()),
        dims: vec![2],
        data_type: Some(DataType::Int64.into()),
        int64_data: vec![0, -1],
        ..TensorProto::default()
    };
    let graph = GraphProto { name: Some("tiny".into()), initializer: vec![weight, shape], ..GraphProto::default() };
    ModelProto { ir_version: Some(8), producer_name: Some("razorc".into()), graph: Some(graph), ..Default::default() }
}

fn location(entries: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some(key.to_string()),
        value: Some(value.to_string()),
    };
    entries.iter().map(entry).collect()
}

fn small_program() -> Program {
    let resident = |name: &str, ty| Resident { name: name.into(), r#type: Some(ty), ..Resident::default() };
    let residents = vec![
        resident("first", Type::dense(DType::F32, &[3])),
        resident("zeros", Type::dense(DType::F32, &[100])),
        resident("third", Type::bits(&[8, 8])),
    ];
    Program { name: "small".into(), residents, ..Program::default() }
}

fn small_trainer(folder: &Path) -> (PathBuf, Vec<u8>, Vec<u8>) {
    let path = folder.join("small.trainer");
    let (first, third) = ((1..=12).collect::<Vec<u8>>(), (101..=108).collect::<Vec<u8>>());
    write_trainer(&path, &small_program(), &[Some(&first), None, Some(&third)]).unwrap();
    (path, first, third)
}

/// A trainer with these bytes for a program, a checksum that fits them, and 128 bytes of blobs.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89razorc\n\x01\0\0\0".to_vec();
    bytes.extend(crc32(message).to_le_bytes());
    bytes.extend((message.len() as u64).to_le_bytes());
    bytes.extend(message);
    bytes.resize(bytes.len().next_multiple_of(64) + 128, 0);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Bytes changed, removed, inserted or cut off at random places.
fn mutated(bytes: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len().max(1));
        match rng.random_range(0..8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), rng.random()),
            2 if at < bytes.len() => _ = bytes.remove(at),
            _ if at < bytes.len() => bytes[at] = rng.random(),
            _ => {}
        }
    }
    bytes
}
