//! This project's programs, as released.

use crate::{steps, workspace};
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A GGUF file.
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Model {
    /// Whether it is the one for which the project states most of its goals.
    pub(crate) fn is_main(&self) -> bool {
        self.name.to_lowercase().contains("1.5b")
    }
}

/// The command, and the example that compares distributions.
pub(crate) struct Ours {
    folder: PathBuf,
}

impl Ours {
    /// Builds the command, `with_example` also the example.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) fn build(with_example: bool) -> anyhow::Result<Self> {
        let build = |arguments: &[&str]| {
            steps::run(workspace::cargo().args(["build", "--release", "--quiet"]).args(arguments))
        };
        build(&["--package", "nano-reasoning-cli"])?;
        if with_example {
            build(&["--package", "nano-reasoning-model", "--example", "kl_divergence"])?;
        }
        let metadata = workspace::metadata(false)?;
        let target = metadata["target_directory"].as_str().context("cargo names no target folder")?;
        Ok(Self { folder: Path::new(target).join("release") })
    }

    /// The command with a subcommand.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(self.folder.join("nano-reasoning"));
        command.arg(subcommand);
        command
    }

    pub(crate) fn kl_divergence(&self) -> Command {
        Command::new(self.folder.join("examples/kl_divergence"))
    }

    /// What a command prints as JSON.
    ///
    /// # Errors
    /// If it fails or prints something else.
    pub(crate) fn json(&self, command: &mut Command) -> anyhow::Result<Value> {
        let printed = steps::output(command)?;
        serde_json::from_str(&printed).with_context(|| format!("reading what {command:?} prints"))
    }

    /// A model by file or by name; one that is not here is downloaded.
    ///
    /// # Errors
    /// If there is no such model.
    pub(crate) fn model(&self, name: &str) -> anyhow::Result<Model> {
        let path = PathBuf::from(name);
        if path.is_file() {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Model { name: stem, path });
        }
        if let Some(path) = self.listed(name)? {
            return Ok(Model { name: name.to_owned(), path });
        }
        steps::run(self.command("pull").arg(name))?;
        let Some(path) = self.listed(name)? else { bail!("'{name}' is not here after downloading it") };
        Ok(Model { name: name.to_owned(), path })
    }

    fn listed(&self, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let models = self.json(self.command("models").args(["list", "--json"]))?;
        let model = models.as_array().into_iter().flatten().find(|model| model["name"] == name);
        Ok(model.and_then(|model| model["path"].as_str()).map(PathBuf::from))
    }
}
