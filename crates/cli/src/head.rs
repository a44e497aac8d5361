//! `head`: what drafts for the model, and a copy of it for other programs.

use std::fmt::Write;

use indicatif::DecimalBytes;
use nano_reasoning::{Head, HeadInfo};

use crate::arguments::{AnswerArgs, GlobalArgs, HeadArgs, HeadCommand};
use crate::output;

pub(crate) fn run(global: &GlobalArgs, arguments: &HeadArgs) -> anyhow::Result<()> {
    let head = Head::open(&global.config(&AnswerArgs::default())?)?;
    let text = match &arguments.command {
        HeadCommand::Info { is_json: true } => serde_json::to_string_pretty(&head.info()?)? + "\n",
        HeadCommand::Info { is_json: false } => table(&head.info()?),
        HeadCommand::Export { to } => {
            head.export(to)?;
            format!("{} is written\n", to.display())
        }
    };
    Ok(output::print(&text)?)
}

fn table(info: &HeadInfo) -> String {
    let layers: Vec<String> = info.target_layers.iter().map(usize::to_string).collect();
    let rows = if info.has_trained_output { "rows of its own" } else { "the model's rows" };
    let mut text = String::new();
    for (name, value) in [
        ("drafts for", info.target.clone()),
        ("reads", format!("the inputs of layers {}", layers.join(", "))),
        ("parameters", format!("{:.1} M", info.n_parameters as f64 / 1e6)),
        ("vocabulary", format!("{} tokens, by {rows}, and the context's", info.n_core_tokens)),
        ("memory", DecimalBytes(info.size_bytes as u64).to_string()),
    ] {
        writeln!(text, "{name:<11} {value}").expect("strings take all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_a_head_is() {
        let info = HeadInfo {
            target: "qwen2.5-coder-1.5b".into(),
            target_layers: vec![2, 14, 25],
            n_parameters: 57_043_968,
            n_core_tokens: 24_576,
            has_trained_output: false,
            size_bytes: 70_000_000,
        };
        let wanted = "\
drafts for  qwen2.5-coder-1.5b
reads       the inputs of layers 2, 14, 25
parameters  57.0 M
vocabulary  24576 tokens, by the model's rows, and the context's
memory      70.00 MB
";
        assert_eq!(table(&info), wanted);
    }
}
