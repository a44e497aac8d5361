//! Any bytes are either refused with a printable message, or a file that reads without a panic and
//! survives being written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nano_reasoning_gguf::{GgufFile, GgufWriter, Value};

fuzz_target!(|bytes: &[u8]| {
    let file = match GgufFile::from_bytes(bytes) {
        Ok(file) => file,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control) && message.len() < 2000, "{message:?}");
            return;
        }
    };
    let mut writer = GgufWriter::new();
    for (key, value) in file.metadata().iter() {
        if let Value::Array(array) = value {
            assert_eq!(array.iter().count(), array.len());
        }
        assert!(file.metadata().value(key).is_some());
        writer.metadata(key, value).expect("a key occurs once");
    }
    for tensor in file.tensors() {
        assert_eq!(file.find_tensor(tensor.name()), Some(tensor));
        writer
            .tensor(tensor.name(), tensor.dtype(), tensor.shape(), file.tensor_bytes(tensor))
            .expect("a tensor that was read can be written");
    }
    // An alignment of 2 GiB is legal, and would be written out as zeros.
    if file.alignment() > 4096 {
        return;
    }
    let again = GgufFile::from_bytes(&writer.to_bytes()).expect("what was written can be read");
    // Compared as bytes, since NaN is not equal to itself.
    let mut copy = GgufWriter::new();
    copy.copy_metadata(again.metadata()).expect("a key occurs once");
    for tensor in again.tensors() {
        copy.tensor(tensor.name(), tensor.dtype(), tensor.shape(), again.tensor_bytes(tensor))
            .expect("a tensor that was read can be written");
    }
    assert!(copy.to_bytes() == writer.to_bytes(), "a copy of a copy differs");
});
