//! One answer with its hidden states, as a file: safetensors, with what it belongs to as JSON in the header.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `tokens` | U32 | `[n]` |
//! | `states` | F16 | `[n, n_taps, hidden_dim]`, inputs of the tapped layers |
//! | `hidden` | F16 | `[n - first_hidden, hidden_dim]`, inputs of the output matrix |
//! | `is_answer` | BOOL | `[n]` |

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use nano_reasoning_model::one_line;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Sample};

/// The format's number: a reader refuses any other.
const VERSION: u32 = 1;
/// Key of the JSON in the header.
const INFO: &str = "nano-reasoning.sample";
/// What a broken file is called in messages.
const WANTED: &str = "an answer as this program collects it, whole";

/// What a sample is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleInfo {
    /// Its name, which no other has.
    pub id: String,
    /// The kind of prompt.
    pub task: String,
    /// What the target's weights are recognised by.
    pub target: String,
    /// Layers whose inputs are kept.
    pub taps: Vec<usize>,
    /// Width of each.
    pub hidden_dim: usize,
}

/// The header's JSON.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    position: usize,
    first_hidden: usize,
    #[serde(flatten)]
    info: SampleInfo,
}

/// A file that was found sound.
#[derive(Debug, Clone)]
pub struct SampleFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is of.
    pub info: SampleInfo,
    /// Entries from which a draft can be learnt.
    pub n_bases: usize,
}

impl SampleFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Error::ReadFile`], and [`Error::BadSampleFile`] if it is no sample.
    pub fn open(path: &Path) -> Result<(Self, Sample)> {
        let bytes = fs::read(path).map_err(|reason| Error::ReadFile { path: path.into(), reason })?;
        let bad = |found: String| Error::BadSampleFile { path: path.into(), found, wanted: WANTED.into() };
        let (info, sample) = parse(&bytes).map_err(bad)?;
        let n_bases = sample.n_bases();
        Ok((Self { path: path.into(), info, n_bases }, sample))
    }

    /// Reads the sample again.
    ///
    /// # Errors
    /// As [`Self::open`], and if it is another now.
    pub fn load(&self) -> Result<Sample> {
        let (again, sample) = Self::open(&self.path)?;
        if again.info == self.info && again.n_bases == self.n_bases {
            return Ok(sample);
        }
        let (found, wanted) =
            (format!("answer '{}'", again.info.id), format!("'{}', as it was", self.info.id));
        Err(Error::BadSampleFile { path: self.path.clone(), found, wanted })
    }

    /// Checks that it was collected from the target called `target` by its fingerprint, for a head that reads `taps`.
    ///
    /// # Errors
    /// [`Error::BadSampleFile`] if not.
    pub fn check(&self, target: &str, taps: &[usize], hidden_dim: usize) -> Result<()> {
        let info = &self.info;
        let bad = |found: String, wanted: String| {
            Err(Error::BadSampleFile { path: self.path.clone(), found, wanted })
        };
        if info.target != target {
            return bad(format!("an answer of the model {}", info.target), format!("one of {target}"));
        }
        if info.taps != taps || info.hidden_dim != hidden_dim {
            let of = |taps: &[usize], hidden_dim| format!("layers {taps:?} of width {hidden_dim}");
            return bad(of(&info.taps, info.hidden_dim), of(taps, hidden_dim));
        }
        Ok(())
    }
}

impl Sample {
    /// The bytes of a sample's file. `states` are taps.
    ///
    /// # Panics
    /// If lengths do not go together.
    pub fn to_bytes(&self, info: &SampleInfo) -> Vec<u8> {
        let n = self.tokens.len();
        let numbers =
            |values: &[f16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let tokens: Vec<u8> = self.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let is_answer: Vec<u8> = self.is_answer.iter().map(|&is_answer| is_answer.into()).collect();
        let (states, hidden) = (numbers(&self.states), numbers(&self.hidden));
        let tensors = [
            ("tokens", Dtype::U32, vec![n], &tokens),
            ("states", Dtype::F16, vec![n, info.taps.len(), info.hidden_dim], &states),
            ("hidden", Dtype::F16, vec![n - self.first_hidden, info.hidden_dim], &hidden),
            ("is_answer", Dtype::BOOL, vec![n], &is_answer),
        ];
        let views = tensors.into_iter().map(|(name, dtype, shape, bytes)| {
            (name, TensorView::new(dtype, shape, bytes).expect("lengths of a sample go together"))
        });
        let (position, first_hidden) = (self.position, self.first_hidden);
        let header = Header { version: VERSION, position, first_hidden, info: info.clone() };
        let header = serde_json::to_string(&header).expect("numbers and text");
        serialize(views, Some(HashMap::from([(INFO.to_owned(), header)]))).expect("sound tensors")
    }
}

/// What is in a file's bytes, or what is wrong with them.
fn parse(bytes: &[u8]) -> Result<(SampleInfo, Sample), String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(one_line)?;
    let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(INFO));
    let header = header.ok_or("a safetensors file without a sample's header")?;
    let header: Header = serde_json::from_str(header).map_err(one_line)?;
    let Header { version, position, first_hidden, info } = header;
    if version != VERSION {
        return Err(format!("version {version}, not {VERSION}"));
    }
    let file = SafeTensors::deserialize(bytes).map_err(one_line)?;
    let tensor = |name: &str, dtype: Dtype, shape: &[usize]| {
        let view = file.tensor(name).map_err(one_line)?;
        if view.dtype() != dtype || view.shape() != shape {
            return Err(format!(
                "tensor {name} of type {} and shape {:?}, not {dtype} and {shape:?}",
                view.dtype(),
                view.shape()
            ));
        }
        Ok(view.data().to_vec())
    };
    let n = file.tensor("tokens").map_err(one_line)?.shape().first().copied().unwrap_or(0);
    let n_hidden = n
        .checked_sub(first_hidden)
        .ok_or_else(|| format!("hidden states from token {first_hidden} on, of {n}"))?;
    let numbers = |name: &str, shape: &[usize]| {
        let bytes = tensor(name, Dtype::F16, shape)?;
        let numbers: Vec<f16> =
            bytes.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
        match numbers.iter().find(|number| !number.is_finite()) {
            Some(number) => Err(format!("{number} in tensor {name}")),
            None => Ok(numbers),
        }
    };
    let tokens = tensor("tokens", Dtype::U32, &[n])?;
    let sample = Sample {
        position,
        tokens: tokens.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
        states: numbers("states", &[n, info.taps.len(), info.hidden_dim])?,
        first_hidden,
        hidden: numbers("hidden", &[n_hidden, info.hidden_dim])?,
        is_answer: tensor("is_answer", Dtype::BOOL, &[n])?.iter().map(|&byte| byte != 0).collect(),
    };
    Ok((info, sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (SampleInfo, Sample) {
        let info = SampleInfo {
            id: "a/0".into(),
            task: "code".into(),
            target: "12".into(),
            taps: vec![1, 2],
            hidden_dim: 3,
        };
        let numbers = |n: usize| (0..n).map(|i| f16::from_f32(i as f32 * 0.25 - 1.0)).collect::<Vec<_>>();
        let sample = Sample {
            position: 7,
            tokens: vec![5, 6, 7, 8, 9],
            states: numbers(5 * 6),
            first_hidden: 2,
            hidden: numbers(3 * 3),
            is_answer: vec![false, false, true, true, true],
        };
        (info, sample)
    }

    fn message(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        fs::write(&path, bytes).unwrap();
        SampleFile::open(&path).expect_err("it is refused").to_string()
    }

    #[test]
    fn comes_back_as_it_was() {
        let (info, sample) = sample();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        fs::write(&path, sample.to_bytes(&info)).unwrap();
        let (file, again) = SampleFile::open(&path).unwrap();
        assert_eq!((&file.info, &again, file.n_bases), (&info, &sample, 2));
        assert_eq!(file.load().unwrap(), sample);
        file.check("12", &[1, 2], 3).unwrap();
        let refused = |target: &str, taps: &[usize]| file.check(target, taps, 3).unwrap_err().to_string();
        assert!(
            refused("13", &[1, 2])
                .contains("x.safetensors': found an answer of the model 12; wanted one of 13")
        );
        assert!(
            refused("12", &[0, 2])
                .contains("found layers [1, 2] of width 3; wanted layers [0, 2] of width 3")
        );
        fs::write(&path, sample.to_bytes(&SampleInfo { id: "b".into(), ..info })).unwrap();
        assert!(file.load().unwrap_err().to_string().contains("found answer 'b'; wanted 'a/0', as it was"));
        fs::remove_file(&path).unwrap();
        assert!(file.load().unwrap_err().to_string().starts_with("cannot read '"));
    }

    #[test]
    fn broken_files_are_refused_by_name() {
        let (info, good) = sample();
        let bytes = good.to_bytes(&info);
        for len in [0, 7, 8, 60, bytes.len() / 2, bytes.len() - 1] {
            let message = message(&bytes[..len]);
            assert!(message.contains("x.safetensors': found ") && message.contains(WANTED), "{message}");
        }
        let plain = serialize(Vec::<(String, TensorView<'_>)>::new(), None).unwrap();
        assert!(message(&plain).contains("without a sample's header"));
        let text = |from: &str, to: &str| {
            let position = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            let mut bytes = bytes.clone();
            bytes[position..position + from.len()].copy_from_slice(to.as_bytes());
            message(&bytes)
        };
        assert!(text("version\\\":1", "version\\\":9").contains("version 9, not 1"));
        assert!(text("first_hidden\\\":2", "first_hidden\\\":9").contains("from token 9 on, of 5"));
        assert!(
            text("\\\"hidden_dim\\\":3", "\\\"hidden_dim\\\":4")
                .contains("tensor states of type F16 and shape [5, 2, 3]")
        );
        let mut sample = good.clone();
        sample.hidden[4] = f16::NAN;
        assert!(message(&sample.to_bytes(&info)).contains("NaN in tensor hidden"));
    }
}
