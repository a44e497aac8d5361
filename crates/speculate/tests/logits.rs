//! An observer sees the target's own logits, row by row along the accepted path.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::*;
use nano_reasoning_engine::SamplingParams;
use nano_reasoning_speculate::{Drafter, Observer, SpeculationOptions, Verification};

/// By position, the bits of the logits from which its token was drawn.
type Rows = BTreeMap<usize, Vec<u32>>;

struct Recorder(Arc<Mutex<Rows>>);

impl Observer for Recorder {
    fn observe(&mut self, verification: &Verification<'_>) {
        let Verification { history, num_emitted, path, logits, .. } = *verification;
        assert_eq!(path.len(), num_emitted, "each token was drawn from a row of its own");
        let mut rows = self.0.lock().unwrap();
        for (position, &row) in (history.len() - num_emitted..).zip(path) {
            let bits = logits[row * VOCAB_SIZE..][..VOCAB_SIZE].iter().map(|x| x.to_bits()).collect();
            assert!(rows.insert(position, bits).is_none(), "position {position} was drawn twice");
        }
    }
}

fn rows(drafters: Vec<Box<dyn Drafter>>, options: SpeculationOptions, params: &SamplingParams) -> Rows {
    let rows = Arc::new(Mutex::new(Rows::new()));
    let mut session = Session::new(ToyTarget::new(), drafters, options, params);
    session.decoder.add_observer(Box::new(Recorder(rows.clone())));
    session.answer(&PROMPT, 60);
    let rows = rows.lock().unwrap();
    rows.clone()
}

#[test]
fn logits_along_the_path_are_those_of_plain_decoding() {
    for params in settings() {
        let plain = rows(vec![], fixed(0, 1), &params);
        // The prompt's pass gave the first token.
        assert!(plain.keys().copied().eq(PROMPT.len() + 1..PROMPT.len() + 60));
        for (name, guess) in GUESSES {
            for (width, is_spine) in [(1, false), (2, false), (3, true)] {
                let draft = if is_spine { spine_drafter(width, guess) } else { drafter(width, guess) };
                let drafted = rows(vec![draft], fixed(6, width), &params);
                assert!(drafted == plain, "{name}, {width} wide, {params:?}");
            }
        }
    }
}
