//! `pull`: a model onto this machine, or a check of the one that is here.

use indicatif::DecimalBytes;
use nano_reasoning::Error;
use nano_reasoning::config::Environment;
use nano_reasoning::store::Store;

use crate::arguments::PullArgs;
use crate::failure::Stopped;
use crate::output::{self, note};
use crate::progress::Download;

pub(crate) fn run(arguments: &PullArgs) -> anyhow::Result<()> {
    let store = Store::open(Environment::read()?.cache_dir.value);
    let mut download = Download::new();
    let pulled = store.pull(&arguments.model, &mut download);
    let signal = download.signal();
    drop(download);
    let model = match (pulled, signal) {
        (Err(error @ Error::Cancelled { .. }), Some(signal)) => {
            note(&error.to_string());
            return Err(Stopped(signal).into());
        }
        (pulled, _) => pulled?,
    };
    let bytes = store.list().into_iter().find(|info| info.name == model.name).map(|info| info.bytes);
    let size = bytes.map(|bytes| format!(" ({})", DecimalBytes(bytes))).unwrap_or_default();
    Ok(output::print(&format!("{}{size} is ready: {}\n", model.name, model.path.display()))?)
}
