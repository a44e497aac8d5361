//! Folders as Hugging Face lays them out, with the `tokenizers` crate as the judge of the ids.

use std::fs;
use std::path::{Path, PathBuf};

use nano_reasoning_gguf::GgufFile;
use nano_reasoning_text::{ChatTemplate, Error, GgufVocabulary, Message, Special, Tokenizer};
use serde_json::{Value, json};

mod stored;
mod strings;
mod tiny;

/// The pre-tokenizers that Qwen2.5 and SmolLM2 are published with.
fn pre_tokenizer(name: &str) -> Value {
    let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": use_regex});
    let qwen2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let first = match name {
        "qwen2" => {
            json!({"type": "Split", "pattern": {"Regex": qwen2}, "behavior": "Isolated", "invert": false})
        }
        _ => json!({"type": "Digits", "individual_digits": true}),
    };
    json!({"type": "Sequence", "pretokenizers": [first, byte_level(name != "qwen2")]})
}

/// Writes the vocabulary as a `tokenizer.json`, its merges as pairs or as strings.
fn write_folder(folder: &Path, vocabulary: &GgufVocabulary<'_>, are_merges_pairs: bool) -> PathBuf {
    // SmolLM2's vocabulary has the markers too, Qwen's has not.
    let is_listed = |id: &usize| vocabulary.token_types[*id] == 1 || vocabulary.pre == Some("smollm");
    let ids = 0..vocabulary.tokens.len();
    let vocab: serde_json::Map<String, Value> =
        ids.clone().filter(is_listed).map(|id| (vocabulary.tokens[id].to_string(), json!(id))).collect();
    let added: Vec<Value> = ids
        .filter(|&id| matches!(vocabulary.token_types[id], 3 | 4))
        .map(|id| {
            json!({"id": id, "content": vocabulary.tokens[id], "special": vocabulary.token_types[id] == 3,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
        })
        .collect();
    let merges: Vec<Value> = vocabulary
        .merges
        .iter()
        .map(
            |merge| if are_merges_pairs { json!(merge.split(' ').collect::<Vec<_>>()) } else { json!(merge) },
        )
        .collect();
    let pre = vocabulary.pre.unwrap();
    let normalizer = if pre == "qwen2" { json!({"type": "NFC"}) } else { Value::Null };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer(pre),
        "post_processor": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": merges},
    });
    let path = folder.join("tokenizer.json");
    fs::write(&path, tokenizer.to_string()).unwrap();
    let eos = vocabulary.eos.map(|id| vocabulary.tokens[id as usize]);
    let config = json!({"eos_token": eos, "bos_token": null, "chat_template": "{{ messages[0].content }}{{ eos_token }}"});
    fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    path
}

fn ids_equal_the_judge(vocabulary: &GgufVocabulary<'_>, are_merges_pairs: bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = write_folder(folder.path(), vocabulary, are_merges_pairs);
    let ours = Tokenizer::from_folder(folder.path()).unwrap();
    let judge = tokenizers::Tokenizer::from_file(path).unwrap();
    for text in strings::strings() {
        let want = judge.encode_fast(text.as_str(), false).unwrap();
        assert_eq!(ours.encode(&text, Special::Parse), want.get_ids(), "{text:?}");
    }
}

fn real_vocabulary_equals_the_judge(model: &str, are_merges_pairs: bool) {
    let Some(path) = stored::stored(model) else { return };
    let file = GgufFile::open(&path).unwrap();
    ids_equal_the_judge(&GgufVocabulary::from_file(&file).unwrap(), are_merges_pairs);
}

#[test]
fn smollm2_folder_equals_the_tokenizers_crate() {
    real_vocabulary_equals_the_judge("smollm2-135m-instruct-q4_1.gguf", false);
}

#[test]
fn qwen2_folder_equals_the_tokenizers_crate() {
    real_vocabulary_equals_the_judge("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", true);
}

#[test]
fn tiny_folder_equals_the_tokenizers_crate() {
    ids_equal_the_judge(&tiny::vocabulary(&tiny::texts()), true);
}

fn tiny_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &tiny::vocabulary(&tiny::texts()), false);
    folder
}

/// Changes the JSON file `name` of a tiny folder and loads it.
fn load_changed(name: &str, change: impl FnOnce(&mut Value)) -> Result<Tokenizer, Error> {
    let folder = tiny_folder();
    let path = folder.path().join(name);
    let mut json: Value =
        fs::read_to_string(&path).map_or(json!({}), |text| serde_json::from_str(&text).unwrap());
    change(&mut json);
    fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_folder(folder.path())
}

#[test]
fn ends_and_template_come_from_their_files() {
    let tokenizer =
        load_changed("generation_config.json", |json| *json = json!({"eos_token_id": [266, 65]})).unwrap();
    assert_eq!(tokenizer.end_tokens(), [65, 266]);
    assert_eq!(tokenizer.eos(), Some(266));
    let template = ChatTemplate::of(&tokenizer).unwrap();
    assert_eq!(template.render(&[Message::user("hi")], true).unwrap(), "hi<|im_end|>");

    let named = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    let tokenizer = load_changed("tokenizer_config.json", |json| json["chat_template"] = named).unwrap();
    assert_eq!(tokenizer.chat_template_source(), Some("d"));

    let folder = tiny_folder();
    fs::write(folder.path().join("chat_template.jinja"), "own file").unwrap();
    assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().chat_template_source(), Some("own file"));
}

#[test]
fn a_post_processor_that_names_bos_adds_it() {
    let folder = tiny_folder();
    let config = json!({"bos_token": {"content": "<|im_start|>"}});
    fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    assert!(!Tokenizer::from_folder(folder.path()).unwrap().adds_bos());
    let path = folder.path().join("tokenizer.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    json["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]});
    fs::write(&path, json.to_string()).unwrap();
    assert!(Tokenizer::from_folder(folder.path()).unwrap().adds_bos());
}

#[test]
fn refuses_what_is_missing_broken_or_of_another_kind() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Tokenizer::from_folder(empty.path()), Err(Error::Read { .. })));

    let message =
        |change: &dyn Fn(&mut Value)| load_changed("tokenizer.json", change).unwrap_err().to_string();
    assert!(
        message(&|json| json["model"]["type"] = json!("Unigram"))
            .starts_with("model 'Unigram' in tokenizer.json")
    );
    assert!(message(&|json| json["model"]["byte_fallback"] = json!(true)).contains("BPE with byte_fallback"));
    assert!(message(&|json| json["pre_tokenizer"] = Value::Null).starts_with("pre_tokenizer 'null'"));
    assert!(
        message(&|json| json["model"]["vocab"]["x"] = json!(4_000_000_000_u32))
            .contains("ids up to 4000000000")
    );
    assert!(message(&|json| json["model"]["merges"] = json!(["h x"])).starts_with("merge 0 ('h x')"));
    assert!(
        message(&|json| json["model"]["merges"] = json!([["h"]])).contains("is not a valid tokenizer.json")
    );
    assert!(message(&|json| *json = json!([])).contains("is not a valid tokenizer.json"));
}
