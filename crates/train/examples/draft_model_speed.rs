//! What adapters on a draft model cost: `draft_model_speed TARGET.gguf DRAFT_MODEL.gguf`.

use std::sync::Arc;
use std::time::Instant;

use half::f16;
use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{Adapter, CpuModel, LayerAdapters, LoadOptions, Projection, Snapshot};
use nano_reasoning_train::{DraftModel, DraftModelTrainer, DraftModelTraining, Random, Sample};

const N_TOKENS: usize = 240;
const FIRST_HIDDEN: usize = 90;
const N_STEPS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<_> = std::env::args().skip(1).collect();
    let [target, model] = &paths[..] else { return Err("wanted: TARGET DRAFT_MODEL".into()) };
    let options = LoadOptions::default();
    let (target, model) = (CpuModel::load(target, &options)?, CpuModel::load(model, &options)?);
    let mut random = Random::new(1);

    let mut sequence = model.sequence(1024)?;
    let core_vocab: Vec<u32> = (0..24_576).collect();
    sequence.select_outputs(Some(&core_vocab))?;
    let pool = Arc::new(Pool::new(options.n_threads.unwrap_or(2)));
    let mut layers = Vec::new();
    for layer in model.layers() {
        let mut adapters = LayerAdapters::default();
        for projection in Projection::ALL {
            let matrix = layer.projection(projection);
            let mut numbers = |n: usize| (0..n).map(|_| 1e-3 * random.normal()).collect::<Vec<_>>();
            let (down, up) = (numbers(16 * matrix.n_cols()), numbers(16 * matrix.n_rows()));
            adapters.set(projection, Adapter::new(&pool, 16, &down, &up)?);
        }
        layers.push(adapters);
    }
    let snapshot = Arc::new(Snapshot::Adapters(layers));
    // The shortest of many: what else the machine does is not of interest.
    let mut shortest_ms = [f64::MAX; 2];
    for round in 0..8 {
        let adapts = round % 2 == 1;
        sequence.slot().publish(adapts.then(|| snapshot.clone()));
        sequence.take_learnt();
        sequence.truncate(0)?;
        sequence.forward(&TokenTree::chain(&core_vocab[..N_TOKENS]), LogitRows::None)?;
        for token in 0..N_STEPS {
            let started = Instant::now();
            sequence.forward(&TokenTree::chain(&[token as u32]), LogitRows::Last)?;
            let ms = started.elapsed().as_secs_f64() * 1e3;
            shortest_ms[usize::from(adapts)] = shortest_ms[usize::from(adapts)].min(ms);
        }
    }
    println!("a step of a draft: {:.2} ms, with adapters {:.2}", shortest_ms[0], shortest_ms[1]);

    let hidden_dim = target.config().hidden_dim;
    let n_hidden = (N_TOKENS - FIRST_HIDDEN) * hidden_dim;
    let sample = Sample {
        tokens: (0..N_TOKENS).map(|_| random.below(20_000) as u32).collect(),
        first_hidden: FIRST_HIDDEN,
        hidden: (0..n_hidden).map(|_| f16::from_f32(random.normal())).collect(),
        is_answer: (0..N_TOKENS).map(|i| i >= FIRST_HIDDEN).collect(),
        ..Sample::default()
    };
    let bases: Vec<usize> = sample.bases().step_by(2).collect();
    let parts = DraftModel { target, model, core_vocab, slot: Arc::default() };
    let mut trainer = DraftModelTrainer::new(&parts, pool, DraftModelTraining::default())?;
    println!("{:.0} MB stay from step to step", trainer.size_bytes() as f64 / 1e6);
    let per_token = |started: Instant| started.elapsed().as_secs_f64() * 1e3 / N_TOKENS as f64;
    for _ in 0..3 {
        let started = Instant::now();
        trainer.guess(&sample, &bases)?;
        let guess_ms = per_token(started);
        let started = Instant::now();
        trainer.learn(&sample, &bases, 1.0)?;
        let learn_ms = per_token(started);
        let started = Instant::now();
        trainer.step();
        let step_ms = started.elapsed().as_secs_f64() * 1e3;
        println!("a token guessed {guess_ms:.1} ms, learnt {learn_ms:.1} ms; a step {step_ms:.0} ms");
    }
    Ok(())
}
