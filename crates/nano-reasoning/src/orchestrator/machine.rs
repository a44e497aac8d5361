//! What is known before a model is loaded: the machine, the values in force, the store.

use nano_reasoning_kernels::{Pool, stream_read_gb_per_s};

use super::{Drafters, GenerationConfig, Speculation, learning};
use crate::config::{ConfigFile, Environment, Setting, Settings, Source, forced_tier};
use crate::hardware::{Bandwidth, Hardware, memory_bandwidth};
use crate::store::Store;
use crate::tier::{self, TierChoice};
use crate::{Error, Result};

/// Bytes that the bandwidth measurement reads: more than any cache holds, and 0.1 s on a slow machine.
const MEASURED_BYTES: usize = 256 << 20;

/// The machine and the values in force on it.
pub struct Machine {
    /// What the environment says.
    pub environment: Environment,
    /// What the machine is.
    pub hardware: Hardware,
    /// How fast its memory is read.
    pub bandwidth: Option<Bandwidth>,
    /// The models picked for it.
    pub choice: TierChoice,
    /// The values in force.
    pub settings: Settings,
    /// Threads that compute.
    pub n_threads: usize,
    /// Where models lie.
    pub store: Store,
    /// Who drafts.
    pub drafters: Drafters,
    /// What settings ask for and do not get, for people to read.
    pub warnings: Vec<String>,
}

impl Machine {
    /// Looks at the machine and resolves the values in force on it.
    ///
    /// # Errors
    /// If environment, configuration file or overrides are wrong or contradict each other, or nothing fits the memory.
    pub fn look(config: &GenerationConfig) -> Result<Self> {
        let mut environment = Environment::read()?;
        if let Some(path) = &config.config_path {
            environment.config_path = Setting { value: path.clone(), source: Source::Flag("--config") };
        }
        let file = ConfigFile::load(&environment)?;
        let hardware = Hardware::detect();
        let n_threads = config.n_threads.unwrap_or_else(|| hardware.n_decode_threads());
        if n_threads == 0 {
            return Err(Error::NoThreads);
        }
        let store = Store::open(config.cache_dir.as_ref().unwrap_or(&environment.cache_dir.value));
        let bandwidth = memory_bandwidth(store.root(), &hardware, n_threads, measure);
        let forced = forced_tier(&config.overrides, &file);
        let choice = tier::choose(&hardware, bandwidth, forced.value, store.catalogue())?;
        let settings = Settings::resolve(&config.overrides, &file, &choice, store.catalogue())?;
        let warnings = [config.speculation.left_out(&settings)?, no_npu(&settings)];
        let warnings = warnings.into_iter().flatten().collect();
        let name = store.known_name(&settings.target_model_id.value);
        let drafters = Drafters::default();
        let mut machine =
            Self { environment, hardware, bandwidth, choice, settings, n_threads, store, drafters, warnings };
        machine.settle(&config.speculation, &name);
        Ok(machine)
    }

    /// Finds out who drafts for the model of the catalogue called `name`, and how fast he learns.
    pub(super) fn settle(&mut self, speculation: &Speculation, name: &str) {
        let Self { settings, drafters, .. } = self;
        *drafters = speculation.drafters(settings, name);
        if !settings.learning_rate.source.is_set() {
            let usual = learning::usual_rate(drafters, settings.strategy.value);
            settings.learning_rate = usual.unwrap_or_else(|| settings.learning_rate.clone());
        }
    }
}

/// What to say to somebody who wants the neural accelerator used.
fn no_npu(settings: &Settings) -> Option<String> {
    let Setting { value: is_wanted, source } = &settings.enable_npu_offload;
    (*is_wanted && source.is_set()).then(|| {
        format!(
            "hardware.enableNPUOffload ({source}) is true, and this engine computes on the CPU alone; \
             the setting is kept for engines that use an NPU"
        )
    })
}

fn measure(n_threads: usize) -> f64 {
    measure_with(&Pool::new(n_threads), 3)
}

/// The best of so many streaming reads of memory by the threads of `pool`, in GB/s.
pub(super) fn measure_with(pool: &Pool, repeats: usize) -> f64 {
    // Without memory for the measurement the number is no sensible one, and the caller's fallback serves.
    stream_read_gb_per_s(pool, MEASURED_BYTES, repeats).unwrap_or(0.0)
}
