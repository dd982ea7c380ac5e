use std::fs;

use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;
use razorc_runtime::data::{Dataset, Options};
use razorc_runtime::rng::Rng;
use tempfile::TempDir;

use super::{all, classes, noise, npy, preset, refusal};

/// Flips, overwrites, cuts off and inserts bytes, half of the time near the start.
fn mutated(whole: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=rng.below(4) {
        let reach = if rng.coin() { bytes.len().min(128) } else { bytes.len() };
        let at = rng.below(reach as u64) as usize;
        match rng.below(5) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes[at] = b"0123456789(){},'\xff"[rng.below(17) as usize],
            3 => bytes.insert(at, b'9'),
            _ => bytes[at] = rng.bits() as u8,
        }
    }
    bytes
}

#[test]
fn broken_files_are_read_or_refused_and_never_panic() {
    let dir = TempDir::new().unwrap();
    let x = npy(&dir, "x.npy", &Array2::<f32>::ones((4, 3)));
    let y = npy(&dir, "y.npy", &Array1::<u8>::zeros(4));
    let npz = dir.path().join("x.npz");
    let mut writer = NpzWriter::new_compressed(fs::File::create(&npz).unwrap());
    writer.add_array("x", &Array2::<f32>::ones((4, 3))).unwrap();
    writer.add_array("y", &Array1::<u8>::zeros(4)).unwrap();
    writer.finish().unwrap();
    let root = dir.path().join("images");
    fs::create_dir_all(root.join("a")).unwrap();
    noise(9, 7, 1).save(root.join("a/it.png")).unwrap();
    noise(16, 16, 2).save(root.join("a/it.jpg")).unwrap();

    let options = Options { cache_bytes: 1 << 16, skip_unreadable: true, threads: 1, ..Options::default() };
    let (flat, image) = (classes(&[3], 1), classes(&[3, 4, 4], 1));
    let damaged = [x.clone(), npz.clone(), root.join("a/it.png"), root.join("a/it.jpg")];
    let whole = damaged.each_ref().map(|path| fs::read(path).unwrap());
    let (mut rng, mut read, mut refused) = (Rng::keyed(&[2024]), 0, 0);
    for round in 0..2000 {
        let it = round % damaged.len();
        fs::write(&damaged[it], mutated(&whole[it], &mut rng)).unwrap();
        let opened = match it {
            0 => Dataset::open(&x, Some(&y), &flat, &options),
            1 => Dataset::open(&npz, None, &flat, &options),
            _ => Dataset::open(&root, None, &image, &options),
        };
        match opened {
            Ok(dataset) => {
                read += 1;
                let batches = all(&dataset, &preset("raw"), 4);
                assert!(batches[0].input.iter().all(|&bits| f32::from_bits(bits).is_finite()));
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
            }
        }
        fs::write(&damaged[it], &whole[it]).unwrap();
    }
    assert!(100 < read && 100 < refused, "{read} read, {refused} refused");
}

#[test]
fn headers_cannot_claim_what_is_not_there() {
    let dir = TempDir::new().unwrap();
    let y = npy(&dir, "y.npy", &Array1::<u8>::zeros(4));
    let path = dir.path().join("x.npy");
    let open = || Dataset::open(&path, Some(&y), &classes(&[3], 1), &Options::default());
    let write = |text: &str| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        bytes.extend([0; 48]);
        fs::write(&path, bytes).unwrap();
    };
    let header = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    write(&header("(4, 3)"));
    assert_eq!(open().unwrap().len(), 4);
    for shape in [
        "(4, 99999999999)",
        "(4294967296, 4294967296, 4294967296)",
        "(18446744073709551616,)",
        "(-4, 3)",
        "(4, (3))",
        "(4, 3",
        "(4 3)",
        "4",
        "()",
        "(0, 3)",
        "(4, 3, 0)",
        "(1, 1, 1, 1, 1, 1, 1, 4, 3)",
    ] {
        write(&header(shape));
        assert!(refusal(open()).contains("x.npy"), "{shape}");
    }
    for text in ["(".repeat(10_000), "[".repeat(60_000), "{".repeat(100), "{}".into(), String::new()] {
        write(&text);
        assert!(refusal(open()).contains("x.npy is no valid array file"));
    }
    fs::write(&path, b"\x93NUMPY\x02\x00\xff\xff\xff\xff").unwrap();
    assert!(refusal(open()).contains("4294967295 bytes"));
}
