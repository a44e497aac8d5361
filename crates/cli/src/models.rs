//! `models`: what is on this machine and what could be.

use indicatif::DecimalBytes;
use nano_reasoning::config::Environment;
use nano_reasoning::store::{ModelInfo, State, Store};

use crate::arguments::{ModelsArgs, ModelsCommand};
use crate::output;

pub(crate) fn run(arguments: &ModelsArgs) -> anyhow::Result<()> {
    let store = Store::open(Environment::read()?.cache_dir.value);
    let text = match &arguments.command {
        None | Some(ModelsCommand::List { is_json: false }) => table(&store, &store.list()),
        Some(ModelsCommand::List { is_json: true }) => serde_json::to_string_pretty(&store.list())? + "\n",
        Some(ModelsCommand::Rm { model }) => {
            let freed = store.remove(model)?;
            format!("removed {model}, {} freed\n", DecimalBytes(freed))
        }
    };
    Ok(output::print(&text)?)
}

fn table(store: &Store, models: &[ModelInfo]) -> String {
    let width = models.iter().map(|model| model.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut total = 0;
    for model in models {
        let (size, state) = match &model.state {
            State::Present { .. } => {
                total += model.bytes;
                (DecimalBytes(model.bytes).to_string(), "here".to_owned())
            }
            State::Partial { done_bytes } => {
                let percent = 100.0 * *done_bytes as f64 / model.bytes.max(1) as f64;
                (DecimalBytes(model.bytes).to_string(), format!("{percent:.0} % here"))
            }
            State::Absent => (DecimalBytes(model.bytes).to_string(), "-".to_owned()),
        };
        let title = model.title.as_deref().unwrap_or("");
        let line = format!("{:width$}  {size:>9}  {state:9}  {title}", model.name);
        text += line.trim_end();
        text.push('\n');
    }
    text + &format!("\n{} in {}\n", DecimalBytes(total), store.root().display())
}
