//! Splits text into the words that byte pair encoding works on.
//!
//! The rules and their regular expressions come from the `tokenizers` crate; a rule that only isolates
//! what its expression finds (all that Qwen, Llama 3, SmolLM and GPT-2 need) runs on plain `&str`s, without
//! the crate's bookkeeping of alignments.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::utils::SysRegex;
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _, SplitDelimiterBehavior,
};

use crate::error::printable;
use crate::{Error, Result};

// llama.cpp's expressions (`llama-vocab.cpp`), which write out the case-insensitive contractions.
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// What the pre-tokenizer of a GGUF file implies beside the splitting.
#[derive(Debug)]
pub(crate) struct GgufRules {
    pub(crate) pre_tokenizer: PreTokenizer,
    pub(crate) is_whole_word_first: bool,
    /// Whether a text begins with the bos token unless the file says otherwise.
    pub(crate) adds_bos: bool,
}

/// Steps applied in turn, each to the fragments of the one before.
#[derive(Debug)]
pub(crate) struct PreTokenizer {
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    /// Each match becomes a fragment of its own, and so does what lies between.
    Isolate(SysRegex),
    /// Any other rule of the `tokenizers` crate.
    Other(PreTokenizerWrapper),
}

/// Names of `tokenizer.ggml.pre` that are known.
const SUPPORTED: &[&str] =
    &["qwen2", "deepseek-r1-qwen", "llama-bpe", "llama3", "llama-v3", "smollm", "gpt-2", "default"];

impl PreTokenizer {
    /// The rules behind a name in `tokenizer.ggml.pre`; a file without one means `default`.
    ///
    /// # Errors
    /// [`Error::UnsupportedPreTokenizer`] for another name.
    pub(crate) fn from_gguf(name: Option<&str>) -> Result<GgufRules> {
        let name = name.unwrap_or("default");
        let is_llama3 = matches!(name, "llama-bpe" | "llama3" | "llama-v3");
        let expressions: &[&str] = match name {
            "qwen2" | "deepseek-r1-qwen" => &[QWEN2],
            _ if is_llama3 => &[LLAMA3],
            "smollm" => &[r"\p{N}", GPT2],
            "gpt-2" => &[GPT2],
            "default" => &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
            _ => {
                return Err(Error::UnsupportedPreTokenizer { found: printable(name), supported: SUPPORTED });
            }
        };
        Ok(GgufRules {
            pre_tokenizer: Self { steps: expressions.iter().map(|expr| isolate(expr)).collect() },
            is_whole_word_first: is_llama3,
            adds_bos: is_llama3,
        })
    }

    /// From the `pre_tokenizer` of a `tokenizer.json`, which must end in byte level.
    ///
    /// # Errors
    /// [`Error::UnsupportedPart`] if it does not.
    pub(crate) fn from_wrapper(wrapper: Option<PreTokenizerWrapper>) -> Result<Self> {
        let mut flat = Vec::new();
        flatten(wrapper, &mut flat);
        let unsupported = |found: String| Error::UnsupportedPart {
            part: "pre_tokenizer",
            found,
            supported: "a sequence that ends in ByteLevel without add_prefix_space",
        };
        let byte_level = match flat.pop() {
            Some(PreTokenizerWrapper::ByteLevel(step)) => step,
            last => return Err(unsupported(describe(&last))),
        };
        if byte_level.add_prefix_space {
            return Err(unsupported(describe(&Some(PreTokenizerWrapper::ByteLevel(byte_level)))));
        }
        let mut steps: Vec<Step> = flat.into_iter().map(Step::from).collect();
        if byte_level.use_regex {
            steps.push(isolate(GPT2));
        }
        Ok(Self { steps })
    }

    /// Calls `emit` with each word of `text`, in order.
    pub(crate) fn for_each_word(&self, text: &str, emit: &mut dyn FnMut(&str)) {
        for_each_fragment(&self.steps, text, emit);
    }
}

fn isolate(expression: &str) -> Step {
    Step::Isolate(SysRegex::new(expression).expect("the expressions above are valid"))
}

fn describe(wrapper: &Option<PreTokenizerWrapper>) -> String {
    printable(&serde_json::to_string(wrapper).unwrap_or_default())
}

fn flatten(wrapper: Option<PreTokenizerWrapper>, out: &mut Vec<PreTokenizerWrapper>) {
    match wrapper {
        None => {}
        Some(PreTokenizerWrapper::Sequence(sequence)) => {
            for inner in sequence.as_ref() {
                flatten(Some(inner.clone()), out);
            }
        }
        Some(other) => out.push(other),
    }
}

impl From<PreTokenizerWrapper> for Step {
    fn from(wrapper: PreTokenizerWrapper) -> Self {
        match wrapper {
            PreTokenizerWrapper::Split(Split {
                pattern: SplitPattern::Regex(_),
                regex,
                behavior: SplitDelimiterBehavior::Isolated,
                ..
            }) => Self::Isolate(regex),
            PreTokenizerWrapper::Digits(digits) => {
                isolate(if digits.individual_digits { r"\p{N}" } else { r"\p{N}+" })
            }
            other => Self::Other(other),
        }
    }
}

fn for_each_fragment(steps: &[Step], text: &str, emit: &mut dyn FnMut(&str)) {
    let Some((step, rest)) = steps.split_first() else {
        return emit(text);
    };
    match step {
        Step::Isolate(regex) => {
            let mut end_before = 0;
            for (start, end) in regex.find_iter(text).filter(|(start, end)| start < end) {
                if end_before < start {
                    for_each_fragment(rest, &text[end_before..start], emit);
                }
                for_each_fragment(rest, &text[start..end], emit);
                end_before = end;
            }
            if end_before < text.len() {
                for_each_fragment(rest, &text[end_before..], emit);
            }
        }
        Step::Other(wrapper) => {
            let mut whole = PreTokenizedString::from(text);
            if wrapper.pre_tokenize(&mut whole).is_err() {
                return for_each_fragment(rest, text, emit);
            }
            for (fragment, _, _) in whole.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                for_each_fragment(rest, fragment, emit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pre_tokenizer: &PreTokenizer, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        pre_tokenizer.for_each_word(text, &mut |word| words.push(word.to_string()));
        words
    }

    fn gguf_words(name: &str, text: &str) -> Vec<String> {
        words(&PreTokenizer::from_gguf(Some(name)).unwrap().pre_tokenizer, text)
    }

    #[test]
    fn every_supported_name_is_known() {
        for name in SUPPORTED {
            PreTokenizer::from_gguf(Some(name)).unwrap();
        }
        let message = PreTokenizer::from_gguf(Some("tekken")).unwrap_err().to_string();
        assert!(
            message.starts_with("pre-tokenizer 'tekken' is not supported; supported are qwen2,"),
            "{message}"
        );
    }

    #[test]
    fn digits_split_as_each_model_wants() {
        assert_eq!(gguf_words("qwen2", "a 1234"), ["a", " ", "1", "2", "3", "4"]);
        assert_eq!(gguf_words("llama-bpe", "a 1234"), ["a", " ", "123", "4"]);
        assert_eq!(gguf_words("smollm", "a 1234"), ["a", " ", "1", "2", "3", "4"]);
        assert_eq!(gguf_words("gpt-2", "a 1234"), ["a", " 1234"]);
    }

    #[test]
    fn whitespace_leaves_one_space_to_the_word() {
        assert_eq!(gguf_words("qwen2", "a   b \n\n c\t"), ["a", "  ", " b", " \n\n", " c", "\t"]);
        assert_eq!(gguf_words("gpt-2", "a   b \n\n c\t"), ["a", "  ", " b", " \n\n", " c", "\t"]);
    }

    #[test]
    fn words_join_to_the_text() {
        for name in SUPPORTED {
            let text = "It's 12345 \u{200d}e\u{301} 日本語\u{3000}x  \r\n\t 'LL\u{85}end ";
            assert_eq!(gguf_words(name, text).concat(), text, "{name}");
        }
    }

    #[test]
    fn runs_of_millions_are_split_in_linear_time() {
        for run in [" ", "a", "1", "\n", "é", "-"] {
            let text = run.repeat(1_500_000) + "x";
            assert_eq!(gguf_words("qwen2", &text).concat(), text);
        }
    }

    #[test]
    fn json_of_a_model_means_the_same_as_its_name() {
        let json = r#"{"type":"Sequence","pretokenizers":[
            {"type":"Digits","individual_digits":true},
            {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]}"#;
        let from_json = PreTokenizer::from_wrapper(Some(serde_json::from_str(json).unwrap())).unwrap();
        let text = "Don't split 2024-11-25's   dates\n\n";
        assert_eq!(words(&from_json, text), gguf_words("smollm", text));
    }

    #[test]
    fn other_rules_run_in_the_crate() {
        let json = r#"{"type":"Sequence","pretokenizers":[
            {"type":"Split","pattern":{"String":"-"},"behavior":"MergedWithPrevious","invert":false},
            {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}"#;
        let pre_tokenizer = PreTokenizer::from_wrapper(Some(serde_json::from_str(json).unwrap())).unwrap();
        assert_eq!(words(&pre_tokenizer, "a-b-c"), ["a-", "b-", "c"]);
    }

    #[test]
    fn rejects_what_is_not_byte_level() {
        let json = r#"{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}"#;
        let wrapper = serde_json::from_str(json).unwrap();
        assert!(matches!(PreTokenizer::from_wrapper(Some(wrapper)), Err(Error::UnsupportedPart { .. })));
        assert!(matches!(PreTokenizer::from_wrapper(None), Err(Error::UnsupportedPart { .. })));
    }
}
