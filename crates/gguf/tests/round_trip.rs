//! What is written is what is read, whole or not at all; and no change to a file makes the reader panic.

use nano_reasoning_gguf::{DType, GgufFile, GgufWriter, Result, Value};
use proptest::prelude::*;

/// A file with every kind of value, an alignment of its own and three tensors.
fn small_file() -> Vec<u8> {
    small_writer().unwrap().to_bytes()
}

fn small_writer() -> Result<GgufWriter<'static>> {
    let mut writer = GgufWriter::new();
    writer.metadata("general.alignment", 64_u32)?;
    writer.metadata("general.architecture", "qwen2")?;
    writer.metadata("u8", 1_u8)?.metadata("i8", -1_i8)?.metadata("u16", 2_u16)?.metadata("i16", -2_i16)?;
    writer
        .metadata("u32", 3_u32)?
        .metadata("i32", -3_i32)?
        .metadata("u64", 4_u64)?
        .metadata("i64", -4_i64)?;
    writer.metadata("f32", 0.5_f32)?.metadata("f64", -0.25_f64)?.metadata("bool", true)?;
    writer.metadata("strings", ["a", "", "Ġthe", "日本"].as_slice())?;
    writer.metadata("numbers", [1_i32, -1, 7].as_slice())?.metadata("bools", [true, false].as_slice())?;
    writer.metadata("empty", [0_u64; 0].as_slice())?;
    writer.tensor("norm", DType::F32, &[3], vec![1; 12])?;
    writer.tensor("weight", DType::Q4K, &[2, 256], vec![2; 288])?;
    writer.tensor("experts", DType::Q8_0, &[2, 3, 1, 32], vec![3; 204])?;
    Ok(writer)
}

/// Looks at everything in a file that was accepted.
fn walk(file: &GgufFile) -> usize {
    let mut n_seen = 0;
    for (key, value) in file.metadata().iter() {
        n_seen += key.len() + format!("{value:?}").len();
        if let Value::Array(array) = value {
            n_seen += array.iter().count();
        }
    }
    for tensor in file.tensors() {
        assert_eq!(file.tensor_bytes(tensor).len(), tensor.n_bytes());
        assert_eq!(tensor.dtype().bytes_for(tensor.n_elements()), Some(tensor.n_bytes()));
        assert_eq!(tensor.range().start % file.alignment(), 0);
        file.will_need(tensor.range());
        file.sequential(tensor.range());
        file.release(tensor.range());
        n_seen += file.tensor_bytes(tensor).iter().filter(|&&byte| byte != 0).count();
    }
    n_seen
}

/// The same metadata and tensors, written again.
fn rewrite(file: &GgufFile) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.copy_metadata(file.metadata()).unwrap();
    for tensor in file.tensors() {
        writer.tensor(tensor.name(), tensor.dtype(), tensor.shape(), file.tensor_bytes(tensor)).unwrap();
    }
    writer.to_bytes()
}

#[test]
fn reads_what_was_written() {
    let file = GgufFile::from_bytes(&small_file()).unwrap();
    let meta = file.metadata();
    assert_eq!((file.version(), file.alignment(), meta.len()), (3, 64, 17));
    assert_eq!(meta.str("general.architecture").unwrap(), "qwen2");
    assert_eq!(meta.u32("u8").unwrap(), 1);
    assert_eq!(meta.get::<i64>("i16").unwrap(), -2);
    assert_eq!(meta.get::<usize>("u64").unwrap(), 4);
    assert_eq!(meta.f32("f64").unwrap(), -0.25);
    assert!(meta.bool("bool").unwrap());
    assert_eq!(meta.value("i8"), Some(Value::I8(-1)));
    assert_eq!(meta.strs("strings").unwrap().iter().collect::<Vec<_>>(), ["a", "", "Ġthe", "日本"]);
    assert_eq!(meta.get::<Vec<i32>>("numbers").unwrap(), [1, -1, 7]);
    assert_eq!(meta.get::<Vec<bool>>("bools").unwrap(), [true, false]);
    assert_eq!(meta.get::<Vec<u64>>("empty").unwrap(), [0; 0]);
    assert_eq!(meta.iter().nth(2).map(|(key, _)| key), Some("u8"), "file order is kept");

    let experts = file.tensor("experts").unwrap();
    assert_eq!(
        (experts.dtype(), experts.shape(), experts.n_elements()),
        (DType::Q8_0, &[2, 3, 1, 32][..], 192)
    );
    assert_eq!(file.tensor_bytes(experts), [3; 204]);
    assert_eq!(file.tensor_bytes(file.tensor("norm").unwrap()), [1; 12]);
    assert!(file.find_tensor("none").is_none());
    assert_eq!(file.n_bytes() % 64, 0);
}

#[test]
fn copying_a_file_gives_the_same_bytes() {
    let bytes = small_file();
    assert_eq!(rewrite(&GgufFile::from_bytes(&bytes).unwrap()), bytes);
}

#[test]
fn writes_the_whole_file_or_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.gguf");
    let mut writer = GgufWriter::new();
    writer.tensor("t", DType::F16, &[4], vec![7; 8]).unwrap();
    writer.write(&path).unwrap();
    writer.metadata("general.name", "second").unwrap();
    writer.write(&path).unwrap();

    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.metadata().str("general.name").unwrap(), "second");
    assert_eq!(file.tensor_bytes(&file.tensors()[0]), [7; 8]);
    assert_eq!(std::fs::read(&path).unwrap(), writer.to_bytes());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");

    // An open file is not disturbed by one that replaces it.
    GgufWriter::new().write(&path).unwrap();
    assert_eq!(file.tensor_bytes(&file.tensors()[0]), [7; 8]);
    assert!(GgufFile::open(&path).unwrap().tensors().is_empty());

    // A folder in the way: the rename fails, and nothing is left behind.
    let blocked = folder.path().join("blocked.gguf");
    std::fs::create_dir_all(blocked.join("inside")).unwrap();
    let message = writer.write(&blocked).unwrap_err().to_string();
    assert!(message.starts_with(&format!("cannot write '{}': ", blocked.display())), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(writer.write(folder.path().join("none").join("x.gguf")).is_err());
}

#[test]
fn the_writer_refuses_what_no_reader_would_take() {
    let mut writer = GgufWriter::new();
    writer.metadata("k", 1_u32).unwrap();
    writer.tensor("t", DType::F32, &[2], vec![0; 8]).unwrap();
    let mut refused = |name, shape: &[usize], n_bytes| {
        writer.tensor(name, DType::Q4_0, shape, vec![0; n_bytes]).unwrap_err().to_string()
    };
    assert_eq!(refused("t", &[32], 18), "tensor 't' occurs twice, wanted once; convert the model again");
    assert_eq!(refused("w", &[2, 32], 35), "tensor 'w' got 35 bytes, its type and shape want 36");
    assert_eq!(refused("w", &[], 0), "tensor 'w' has 0 dimensions, wanted 1 to 4; is the file corrupt?");
    assert!(refused("w", &[2, 16], 18).contains("rows of 16 elements"));
    let mut refused = |key, value: u64| writer.metadata(key, value).map(drop).unwrap_err().to_string();
    assert_eq!(refused("k", 1), "metadata 'k' occurs twice, wanted once; convert the model again");
    assert!(
        refused("general.alignment", 32).starts_with("metadata 'general.alignment' is u64 32, wanted u32")
    );
    assert!(writer.metadata("general.alignment", 12_u32).is_err());
}

/// Metadata of any kind: key suffix and value.
fn any_value() -> impl Strategy<Value = (u8, String, Vec<i64>, f64)> {
    (any::<u8>(), ".{0,12}", prop::collection::vec(any::<i64>(), 0..5), any::<f64>())
}

proptest! {
    #[test]
    fn any_metadata_and_tensors_survive_a_round_trip(
        values in prop::collection::vec(any_value(), 0..8),
        tensors in prop::collection::vec((0..DType::all().count(), 1..4_usize, 1..3_usize), 0..6),
        log2_alignment in 3..9_u32,
    ) {
        let mut writer = GgufWriter::new();
        writer.metadata("general.alignment", 1_u32 << log2_alignment).unwrap();
        for (i, (kind, text, numbers, float)) in values.iter().enumerate() {
            let key = format!("{i}.{text}");
            match kind % 5 {
                0 => writer.metadata(&key, text.as_str()),
                1 => writer.metadata(&key, numbers.as_slice()),
                2 => writer.metadata(&key, *float),
                3 => writer.metadata(&key, vec![text.as_str(); numbers.len()].as_slice()),
                _ => writer.metadata(&key, kind % 2 == 0),
            }.unwrap();
        }
        for (i, &(dtype, n_rows, n_blocks)) in tensors.iter().enumerate() {
            let dtype = DType::all().nth(dtype).unwrap();
            let shape = [n_rows, n_blocks * dtype.block_len()];
            let bytes = vec![i as u8 + 1; dtype.bytes_for(shape[0] * shape[1]).unwrap()];
            writer.tensor(&format!("tensor {i}"), dtype, &shape, bytes).unwrap();
        }
        let bytes = writer.to_bytes();
        let file = GgufFile::from_bytes(&bytes).unwrap();
        prop_assert_eq!(rewrite(&file), bytes);
        for (i, (kind, text, numbers, float)) in values.iter().enumerate() {
            let key = format!("{i}.{text}");
            let meta = file.metadata();
            match kind % 5 {
                0 => prop_assert_eq!(meta.str(&key).unwrap(), text),
                1 => prop_assert_eq!(&meta.get::<Vec<i64>>(&key).unwrap(), numbers),
                2 => prop_assert_eq!(meta.get::<f64>(&key).unwrap().to_bits(), float.to_bits()),
                3 => prop_assert!(meta.strs(&key).unwrap().iter().eq(numbers.iter().map(|_| text))),
                _ => prop_assert_eq!(meta.bool(&key).unwrap(), kind % 2 == 0),
            }
        }
        for (i, tensor) in file.tensors().iter().enumerate() {
            prop_assert!(file.tensor_bytes(tensor).iter().all(|&byte| byte == i as u8 + 1));
        }
    }

    #[test]
    fn no_mutation_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = small_file();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match GgufFile::from_bytes(&bytes) {
            Ok(file) => {
                walk(&file);
                let again = GgufFile::from_bytes(&rewrite(&file)).unwrap();
                prop_assert_eq!(walk(&again), walk(&file));
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(!message.contains(char::is_control) && message.len() < 800, "{}", message);
            }
        }
    }

    #[test]
    fn no_length_makes_the_reader_panic(at in any::<prop::sample::Index>(), value in any::<u64>(), shift in 0..64_u32) {
        let mut bytes = small_file();
        let at = at.index(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&(value >> shift).to_le_bytes());
        if let Ok(file) = GgufFile::from_bytes(&bytes) {
            walk(&file);
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&b"GGUF\x03\0\0\0"[..], &tail].concat();
        if let Ok(file) = GgufFile::from_bytes(&bytes) {
            walk(&file);
        }
    }
}
