//! `cargo xtask oracle`: our logits against another implementation's, candle, which is built in a workspace of its own.

use crate::{steps, workspace};

pub(crate) fn run() -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    // A workspace of its own is found from within.
    cargo.current_dir(workspace::root().join("oracle"));
    steps::run(cargo.args(["test", "--", "--nocapture", "--test-threads", "1"]))
}
