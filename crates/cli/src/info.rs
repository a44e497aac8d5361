//! `info`: the machine, the tier picked for it, and every setting with its source.

use std::fmt::Write;

use indicatif::BinaryBytes;
use nano_reasoning::config::Setting;
use nano_reasoning::hardware::{Bandwidth, BandwidthSource};
use nano_reasoning::{Drafters, Machine};
use nano_reasoning_kernels::Kernels;
use serde_json::json;

use crate::arguments::{AnswerArgs, GlobalArgs, InfoArgs};
use crate::output;

pub(crate) fn run(global: &GlobalArgs, arguments: &InfoArgs) -> anyhow::Result<()> {
    let config = global.config(&AnswerArgs::default())?;
    let machine = Machine::look(&config)?;
    let isa = config.isa.as_deref().unwrap_or_else(|| Kernels::best().isa().name());
    let text = if arguments.is_json {
        serde_json::to_string_pretty(&json(&machine, isa))? + "\n"
    } else {
        table(&machine, isa)
    };
    Ok(output::print(&text)?)
}

fn json(machine: &Machine, isa: &str) -> serde_json::Value {
    let is_here = |model: &str| machine.store.resolve(model).is_ok();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "hardware": machine.hardware,
        "bandwidth": machine.bandwidth,
        "n_threads": machine.n_threads,
        "isa": isa,
        "tier": machine.choice,
        "settings": machine.settings,
        "drafters": machine.drafters,
        "warnings": machine.warnings,
        "environment": machine.environment,
        "target_is_here": is_here(&machine.settings.target_model_id.value),
    })
}

fn table(machine: &Machine, isa: &str) -> String {
    let hardware = &machine.hardware;
    let mut text = String::from("Machine\n");
    let mut row = |name: &str, value: String| {
        writeln!(text, "  {name:<12} {value}").expect("strings take all");
    };
    row("chip", hardware.chip.name.clone());
    row("cores", cores(machine));
    let (memory, free) = (BinaryBytes(hardware.memory_bytes), BinaryBytes(hardware.available_bytes));
    row("memory", format!("{memory}, {free} free"));
    row("bandwidth", machine.bandwidth.map_or("not known".to_owned(), |found| bandwidth(found, machine)));
    let simd = if hardware.simd.is_empty() { "none known".to_owned() } else { hardware.simd.join(", ") };
    row("SIMD", simd);
    row("kernels", isa.to_owned());
    row("GPU", hardware.gpu.as_ref().map_or("none", |gpu| &gpu.name).to_owned());
    row("NPU", hardware.npu.as_ref().map_or("none", |npu| &npu.name).to_owned());

    writeln!(text, "\nTier\n  {}", machine.choice.reason).expect("strings take all");
    for warning in &machine.choice.warnings {
        writeln!(text, "  warning: {warning}").expect("strings take all");
    }
    let target = &machine.settings.target_model_id.value;
    if machine.store.resolve(target).is_err() {
        writeln!(
            text,
            "  {target} is not here yet; the first chat downloads it, or: nano-reasoning pull {target}"
        )
        .expect("strings take all");
    }

    text += "\nSettings\n";
    let rows = machine.settings.rows();
    let width = rows.iter().map(|row| row.value.chars().count()).max().unwrap_or(0);
    for row in rows {
        writeln!(text, "  {:<30} {:<width$}  {}", row.key, row.value, row.source).expect("strings take all");
    }

    writeln!(text, "  {:<30} {}", "drafting", drafters(&machine.drafters)).expect("strings take all");
    for warning in &machine.warnings {
        writeln!(text, "  warning: {warning}").expect("strings take all");
    }

    text += "\nPaths\n";
    let environment = &machine.environment;
    let paths = [
        ("models", &environment.cache_dir),
        ("checkpoints", &environment.checkpoints_dir),
        ("configuration", &environment.config_path),
    ];
    for (name, Setting { value, source }) in paths {
        let absent = if value.exists() { "" } else { ", not there" };
        writeln!(text, "  {name:<30} {}  ({source}{absent})", value.display()).expect("strings take all");
    }
    text
}

/// Who drafts, in a few words.
fn drafters(drafters: &Drafters) -> String {
    let head = drafters.head.as_ref().map(|head| match &**head {
        "shipped" => "the head that ships for the model".to_owned(),
        path => format!("the head {path}"),
    });
    let model = drafters.model.as_ref().map(|model| format!("the draft model {model}"));
    let ngram = drafters.has_ngram.then(|| "what was written before".to_owned());
    let all: Vec<String> = [head, model, ngram].into_iter().flatten().collect();
    if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
}

fn cores(machine: &Machine) -> String {
    let hardware = &machine.hardware;
    let mut text = hardware.n_cores.to_string();
    if hardware.n_performance_cores < hardware.n_cores {
        text += &format!(", {} of them fast", hardware.n_performance_cores);
    }
    text + &format!("; {} threads compute", machine.n_threads)
}

fn bandwidth(bandwidth: Bandwidth, machine: &Machine) -> String {
    let source = match bandwidth.source {
        BandwidthSource::Measured => "measured now",
        BandwidthSource::Cached => "measured earlier",
        BandwidthSource::Nominal => "by the data sheet",
    };
    format!("{:.1} GB/s read by {} threads, {source}", bandwidth.gb_per_s, machine.n_threads)
}
