//! What this machine is, which models fit it, and one model fetched with progress:
//!
//!     cargo run --release -p nano-reasoning --example machine_and_model -- smollm2-135m

use nano_reasoning::config::{ConfigFile, Environment, Overrides, Settings, forced_tier};
use nano_reasoning::hardware::{Hardware, memory_bandwidth};
use nano_reasoning::store::{Store, Update};
use nano_reasoning::tier;

fn main() -> nano_reasoning::Result<()> {
    let environment = Environment::read()?;
    let file = ConfigFile::load(&environment)?;
    let overrides = Overrides { target_model_id: std::env::args().nth(1), ..Overrides::default() };
    let store = Store::open(&environment.cache_dir.value);

    let hardware = Hardware::detect();
    println!("{hardware:#?}");
    // A stand-in for the kernels' measurement.
    let n_threads = hardware.n_decode_threads();
    let bandwidth = memory_bandwidth(store.root(), &hardware, n_threads, sum_memory);
    let forced = forced_tier(&overrides, &file).value;
    let choice = tier::choose(&hardware, bandwidth, forced, store.catalogue())?;
    println!("{}", choice.reason);
    for warning in &choice.warnings {
        println!("warning: {warning}");
    }
    let settings = Settings::resolve(&overrides, &file, &choice, store.catalogue())?;
    for row in settings.rows() {
        println!("{:32} {:24} {}", row.key, row.value, row.source);
    }

    let mut show = |update: &Update<'_>| {
        let total = update.total_bytes.unwrap_or(0);
        println!("{:?} {:?} {} of {total}", update.phase, update.source, update.done_bytes);
    };
    let model = store.ensure(&settings.target_model_id.value, &mut show)?;
    println!("{} is {}", model.name, model.path.display());
    Ok(())
}

/// GB/s of one thread, however many are asked for.
fn sum_memory(_n_threads: usize) -> f64 {
    let words = vec![1u64; 32 << 20];
    let started = std::time::Instant::now();
    let sum: u64 = std::hint::black_box(&words).iter().sum();
    std::hint::black_box(sum);
    (words.len() * 8) as f64 / started.elapsed().as_secs_f64() / 1e9
}
