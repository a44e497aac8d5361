//! What was learnt, as a file: safetensors, with what it is and where it came from as JSON in the header.

use std::borrow::Cow;
use std::collections::HashMap;

use half::f16;
use nano_reasoning_model::one_line;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use crate::change::SavedChange;
use crate::int8::Q8_0;
use crate::{Error, Result};

/// The format's number: a reader refuses any other.
pub(crate) const VERSION: u32 = 1;
/// Key of the JSON in the header.
const INFO: &str = "nano-reasoning.checkpoint";
/// What a broken file is called in messages.
const WANTED: &str = "a checkpoint of this program, whole";

/// What a checkpoint holds and what it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Of the format.
    pub version: u32,
    /// What is learnt: `lora`, `eagle-int8`, or `eagle` where a head is learnt from files; `draft-model-lora`.
    pub strategy: String,
    /// Rank of the adapters; 0 where there are none.
    pub rank: usize,
    /// Their scale, times the rank.
    pub alpha: f32,
    /// What it was learnt beside, all as hexadecimal numbers.
    pub belongs_to: Fingerprints,
    /// Steps taken.
    pub n_steps: u64,
    /// Answers that came in.
    pub n_answers: u64,
    /// Tokens learnt from, repeats counted.
    pub n_tokens_trained: u64,
    /// Mean accepted length on held-out answers when it was published, by replay.
    pub mean_accepted_length: f64,
    /// Samples there were to learn from, and their bytes.
    pub buffer: (usize, usize),
    /// Where random numbers go on.
    pub random: u64,
}

/// Where whoever trains is, beside what is learnt.
pub(crate) struct Progress {
    pub(crate) n_answers: u64,
    pub(crate) n_tokens_trained: u64,
    pub(crate) mean_accepted_length: f64,
    pub(crate) buffer: (usize, usize),
    pub(crate) random: u64,
}

/// What weights are recognised by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// Of the target.
    pub target: String,
    /// Of the head, or of the draft model.
    #[serde(rename = "head")]
    pub drafter: String,
    /// Of the tokens it drafts over.
    pub vocabulary: String,
}

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Numbers,
}

/// The numbers of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Numbers {
    /// Value, and the optimiser's two moments.
    Plain([Vec<f32>; 3]),
    /// The value alone: moments would be twice as much, and soon come again.
    Value(Vec<f32>),
    /// A change in 8 bits.
    Change(SavedChange),
}

/// The state of a trainer.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What it is.
    pub info: CheckpointInfo,
    pub(crate) tensors: Vec<SavedTensor>,
}

/// Suffixes of a tensor's three sets of numbers.
const PARTS: [&str; 3] = ["", ".first_moment", ".second_moment"];
/// Suffix of the scales of a tensor of 8-bit codes, one for 32 of them.
const SCALES: &str = ".scales";

impl Checkpoint {
    /// That it is of the strategy called `strategy`, and belongs to `own`.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`].
    pub(crate) fn check(&self, strategy: &str, own: &Fingerprints) -> Result<()> {
        let CheckpointInfo { strategy: found, belongs_to, .. } = &self.info;
        if found != strategy {
            let found = format!("a checkpoint of the strategy {found}");
            return Err(Error::BadCheckpoint { found, wanted: strategy.into() });
        }
        let pairs = [
            ("target", &belongs_to.target, &own.target),
            ("drafter", &belongs_to.drafter, &own.drafter),
            ("vocabulary", &belongs_to.vocabulary, &own.vocabulary),
        ];
        match pairs.into_iter().find(|(_, found, wanted)| found != wanted) {
            None => Ok(()),
            Some((what, found, wanted)) => {
                let found = format!("a checkpoint for the {what} {found}");
                Err(Error::BadCheckpoint { found, wanted: wanted.clone() })
            }
        }
    }

    /// The numbers of the tensor called `name`, which has this shape and is of a right kind.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] if there is none.
    pub(crate) fn tensor(
        &self,
        name: &str,
        shape: &[usize],
        is_right: impl Fn(&Numbers) -> bool,
    ) -> Result<&Numbers> {
        let tensor = self.tensors.iter().find(|tensor| tensor.name == name);
        let tensor = tensor.filter(|tensor| tensor.shape == shape && is_right(&tensor.numbers));
        tensor.map(|tensor| &tensor.numbers).ok_or_else(|| Error::BadCheckpoint {
            found: format!("a checkpoint of {} tensors", self.tensors.len()),
            wanted: format!("one with {name} of shape {shape:?}: was it trained with another rank?"),
        })
    }

    /// The file's bytes.
    ///
    /// # Panics
    /// Never: names are unique and lengths are the shapes'.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut named = Vec::new();
        let to_bytes = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        for tensor in &self.tensors {
            let SavedTensor { name, shape, numbers } = tensor;
            match numbers {
                Numbers::Plain(parts) => {
                    for (part, numbers) in PARTS.iter().zip(parts) {
                        let bytes: Vec<u8> = to_bytes(numbers);
                        named.push((format!("{name}{part}"), Dtype::F32, shape.clone(), Cow::Owned(bytes)));
                    }
                }
                Numbers::Value(numbers) => {
                    named.push((name.clone(), Dtype::F32, shape.clone(), Cow::Owned(to_bytes(numbers))));
                }
                Numbers::Change(SavedChange { codes, scales }) => {
                    named.push((name.clone(), Dtype::I8, shape.clone(), Cow::Borrowed(&codes[..])));
                    let bytes: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
                    named.push((
                        format!("{name}{SCALES}"),
                        Dtype::F16,
                        vec![scales.len()],
                        Cow::Owned(bytes),
                    ));
                }
            }
        }
        let views = named.iter().map(|(name, dtype, shape, bytes)| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).expect("as long as its shape says"))
        });
        let info = serde_json::to_string(&self.info).expect("numbers and text");
        serialize(views, Some(HashMap::from([(INFO.to_owned(), info)]))).expect("sound tensors")
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] if they are no checkpoint, or one of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bad = |found: String| Error::BadCheckpoint { found, wanted: WANTED.into() };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| bad(one_line(error)))?;
        let info = metadata.metadata().as_ref().and_then(|metadata| metadata.get(INFO));
        let info = info.ok_or_else(|| bad("a safetensors file without a checkpoint's header".into()))?;
        let info: CheckpointInfo = serde_json::from_str(info).map_err(|error| bad(one_line(error)))?;
        if info.version != VERSION {
            let (found, wanted) = (format!("version {}", info.version), format!("version {VERSION}"));
            return Err(Error::BadCheckpoint { found, wanted });
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| bad(one_line(error)))?;
        let view = |name: &str, wanted: Dtype| {
            let view = file.tensor(name).map_err(|error| bad(one_line(error)))?;
            let found = view.dtype();
            if found == wanted { Ok(view) } else { Err(bad(format!("tensor {name} of type {found}"))) }
        };
        let numbers = |name: &str| {
            let view = view(name, Dtype::F32)?;
            let (numbers, _) = view.data().as_chunks::<4>();
            let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
                return Err(bad(format!("{number} in tensor {name}")));
            }
            Ok((view.shape().to_vec(), numbers))
        };
        let change = |name: &str| {
            let codes = view(name, Dtype::I8)?;
            let scales_name = format!("{name}{SCALES}");
            let (scales, _) = view(&scales_name, Dtype::F16)?.data().as_chunks::<2>();
            let scales: Vec<f16> = scales.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
            if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
                return Err(bad(format!("{scale} in tensor {scales_name}")));
            }
            if scales.len() * Q8_0.0 != codes.data().len() {
                return Err(bad(format!("tensor {scales_name} of {} numbers", scales.len())));
            }
            Ok((codes.shape().to_vec(), SavedChange { codes: codes.data().to_vec(), scales }))
        };
        let mut tensors = Vec::new();
        let is_whole = |name: &&str| !PARTS[1..].iter().chain([&SCALES]).any(|part| name.ends_with(part));
        for name in file.names().into_iter().filter(is_whole) {
            if file.tensor(name).is_ok_and(|view| view.dtype() == Dtype::I8) {
                let (shape, saved) = change(name)?;
                tensors.push(SavedTensor { name: name.to_owned(), shape, numbers: Numbers::Change(saved) });
                continue;
            }
            let (shape, value) = numbers(name)?;
            if PARTS[1..].iter().all(|part| file.tensor(&format!("{name}{part}")).is_err()) {
                tensors.push(SavedTensor { name: name.to_owned(), shape, numbers: Numbers::Value(value) });
                continue;
            }
            let mut parts = [value, Vec::new(), Vec::new()];
            for (part, suffix) in parts.iter_mut().zip(PARTS).skip(1) {
                let (part_shape, part_numbers) = numbers(&format!("{name}{suffix}"))?;
                if part_shape != shape {
                    return Err(bad(format!("tensor {name}{suffix} of shape {part_shape:?}, not {shape:?}")));
                }
                *part = part_numbers;
            }
            tensors.push(SavedTensor { name: name.to_owned(), shape, numbers: Numbers::Plain(parts) });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { info, tensors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let fingerprints = Fingerprints { target: "1".into(), drafter: "2".into(), vocabulary: "3".into() };
        let info = CheckpointInfo {
            version: VERSION,
            strategy: "lora".into(),
            rank: 2,
            alpha: 4.0,
            belongs_to: fingerprints,
            n_steps: 7,
            n_answers: 3,
            n_tokens_trained: 900,
            mean_accepted_length: 2.75,
            buffer: (2, 1234),
            random: u64::MAX - 5,
        };
        let tensor = |name: &str, start: f32| SavedTensor {
            name: name.into(),
            shape: vec![2, 3],
            numbers: Numbers::Plain(
                [0.0, 10.0, 20.0].map(|more| (0..6).map(|i| start + more + i as f32).collect()),
            ),
        };
        let change = SavedChange {
            codes: (0..128).collect(),
            scales: (0..4).map(|i| f16::from_f32(i as f32)).collect(),
        };
        let change = SavedTensor {
            name: "attn_v.change".into(),
            shape: vec![2, 64],
            numbers: Numbers::Change(change),
        };
        let value = SavedTensor {
            name: "blk.0.attn_q.down".into(),
            shape: vec![2],
            numbers: Numbers::Value(vec![3.0, -1.5]),
        };
        let plain = [tensor("attn_k.down", 1.0), tensor("attn_q.down", -3.0)];
        Checkpoint { info, tensors: plain.into_iter().chain([change, value]).collect() }
    }

    #[test]
    fn comes_back_as_it_was() {
        let checkpoint = checkpoint();
        assert_eq!(Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap(), checkpoint);
    }

    #[test]
    fn broken_files_are_refused_with_what_is_wrong() {
        let message = |bytes: &[u8]| Checkpoint::from_bytes(bytes).unwrap_err().to_string();
        let bytes = checkpoint().to_bytes();
        for len in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            assert!(message(&bytes[..len]).contains(WANTED), "{}", message(&bytes[..len]));
        }
        let mut other = checkpoint();
        other.info.version = 99;
        assert!(message(&other.to_bytes()).contains("version 99"), "{}", message(&other.to_bytes()));
        let mut other = checkpoint();
        let Numbers::Plain(parts) = &mut other.tensors[1].numbers else { unreachable!() };
        parts[2][0] = f32::NAN;
        assert!(message(&other.to_bytes()).contains("NaN in tensor attn_q.down.second_moment"));
        let mut other = checkpoint();
        let Numbers::Change(change) = &mut other.tensors[2].numbers else { unreachable!() };
        change.scales[1] = f16::INFINITY;
        assert!(message(&other.to_bytes()).contains("inf in tensor attn_v.change.scales"));
        let Numbers::Change(change) = &mut other.tensors[2].numbers else { unreachable!() };
        change.scales.truncate(1);
        assert!(message(&other.to_bytes()).contains("tensor attn_v.change.scales of 1 numbers"));
        let plain = serialize(Vec::<(String, TensorView<'_>)>::new(), None).unwrap();
        assert!(message(&plain).contains("without a checkpoint's header"));
    }
}
