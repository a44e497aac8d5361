//! Speculation pays or stops: the controller with drafters that are always wrong, and then right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nano_reasoning_engine::SamplingParams;

use super::*;
use crate::{Draft, Drafter, Result};

/// What the target always says.
const RIGHT: u32 = 1;
/// Seconds of a pass of one token, and of each row more.
const PLAIN_S: f64 = 0.020;
const ROW_S: f64 = 0.004;

/// Sure of one token, again and again.
struct Sure {
    token: Arc<AtomicU32>,
    is_free: bool,
}

impl Drafter for Sure {
    fn name(&self) -> &str {
        "sure"
    }

    fn is_free(&self) -> bool {
        self.is_free
    }

    fn commit(&mut self, _: &[u32], _: &[f32]) -> Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    fn draft(&mut self, _: &[u32], draft: &mut Draft<'_>) -> Result<()> {
        let mut parent = None;
        while self.is_free || draft.is_worth_a_step(parent) {
            draft.count_step(1);
            let Some(node) = draft.propose(parent, self.token.load(Ordering::Relaxed), 0.9) else { break };
            parent = Some(node);
        }
        Ok(())
    }
}

/// What a cycle did.
struct Cycle {
    n_rows: usize,
    n_emitted: usize,
    is_costly_asked: bool,
    seconds: f64,
}

/// A session whose passes take made-up times.
struct World {
    controller: Controller,
    actors: Vec<DrafterActor>,
    tokens: Vec<Arc<AtomicU32>>,
    context: Vec<u32>,
    sampler: Sampler,
    tree: DraftTree,
}

impl World {
    /// With a drafter for each of `are_free`, all of them wrong.
    fn new(are_free: &[bool]) -> Self {
        let tokens: Vec<_> = (0..are_free.len()).map(|i| Arc::new(AtomicU32::new(2 + i as u32))).collect();
        let actors = tokens
            .iter()
            .zip(are_free)
            .map(|(token, &is_free)| DrafterActor::new(Box::new(Sure { token: token.clone(), is_free })));
        Self {
            controller: Controller::default(),
            actors: actors.collect(),
            tokens,
            context: vec![RIGHT],
            sampler: Sampler::new(SamplingParams::greedy()).unwrap(),
            tree: DraftTree::default(),
        }
    }

    fn cycle(&mut self) -> Cycle {
        let Self { controller, actors, context, sampler, tree, .. } = self;
        let limits =
            Limits { max_depth: 8, max_width: 1, room: 100, is_probe: false, is_fixed: false, known: None };
        controller.draft(actors, context, sampler, limits, tree);
        let (mut path, mut at) = (vec![0], None);
        while let Some(child) = tree.child(at, RIGHT) {
            path.push(child + 1);
            at = Some(child);
        }
        let context_len = context.len() - 1;
        context.extend(path.iter().map(|_| RIGHT));
        let kept = &context[context_len..context_len + path.len()];
        actors.iter_mut().for_each(|actor| actor.commit(context_len, kept, &[]));
        let emitted = &context[context_len + 1..];
        tree.score(&path, emitted, actors);
        let n_rows = tree.nodes.len();
        let seconds = PLAIN_S + ROW_S * n_rows as f64;
        controller.learn(n_rows + 1, context_len, seconds, emitted.len(), seconds);
        let n_emitted = path.len();
        let asked = &controller.choice().asked;
        let is_costly_asked = asked.iter().any(|asked| !actors[asked.drafter].is_free());
        Cycle { n_rows, n_emitted, is_costly_asked, seconds }
    }

    fn cycles(&mut self, n: usize) -> Vec<Cycle> {
        (0..n).map(|_| self.cycle()).collect()
    }

    /// Cycles until ten in a row bring five tokens or more.
    fn cycles_until_taken_up(&mut self) -> usize {
        let mut n_good = 0;
        for i in 0..20_000 {
            n_good = if self.cycle().n_emitted >= 5 { n_good + 1 } else { 0 };
            if n_good == 10 {
                return i;
            }
        }
        panic!("it was not taken up");
    }
}

/// Cycles between those that `is_tried` picks.
fn gaps(cycles: &[Cycle], is_tried: impl Fn(&Cycle) -> bool) -> Vec<usize> {
    let tried: Vec<usize> = (0..cycles.len()).filter(|&i| is_tried(&cycles[i])).collect();
    tried.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn seconds_against_plain(cycles: &[Cycle]) -> f64 {
    cycles.iter().map(|cycle| cycle.seconds).sum::<f64>() / (cycles.len() as f64 * PLAIN_S)
}

#[test]
fn drafters_that_are_always_wrong_cost_next_to_nothing() {
    for are_free in [&[true][..], &[false], &[true, false], &[false, false]] {
        let mut world = World::new(are_free);
        let first = world.cycles(1_000);
        assert!(first.iter().any(|cycle| cycle.n_rows > 0), "{are_free:?}: they were tried");
        assert!(seconds_against_plain(&first) < 1.04, "{are_free:?}: {}", seconds_against_plain(&first));
        let later = world.cycles(2_000);
        let n_drafted = later.iter().filter(|cycle| cycle.n_rows > 0).count();
        let n_asked = later.iter().filter(|cycle| cycle.is_costly_asked).count();
        assert!((1..20).contains(&n_drafted), "{are_free:?}: {n_drafted} cycles drafted");
        assert!(n_asked < 20, "{are_free:?}: {n_asked} cycles asked");
        assert!(seconds_against_plain(&later) < 1.002, "{are_free:?}: {}", seconds_against_plain(&later));
    }
}

#[test]
fn probes_become_ever_rarer() {
    for is_free in [true, false] {
        let mut cycles = World::new(&[is_free]).cycles(4_000);
        let rows = gaps(&cycles, |cycle| cycle.n_rows > 0);
        // A cycle more where a longer context's plain pass is measured first.
        assert!(rows.windows(2).all(|pair| pair[0] <= pair[1] + 1), "{is_free}: {rows:?}");
        assert!(*rows.last().unwrap() >= 512, "{is_free}: {rows:?}");
        let asked = gaps(&cycles.split_off(100), |cycle| cycle.is_costly_asked);
        assert!(is_free || *asked.last().unwrap() >= 512, "{asked:?}");
    }
}

#[test]
fn a_drafter_that_becomes_right_is_taken_up_again() {
    for are_free in [&[true][..], &[false], &[true, false]] {
        for n_wrong in [50, 300, 3_000] {
            let mut world = World::new(are_free);
            world.cycles(n_wrong);
            world.tokens.last().unwrap().store(RIGHT, Ordering::Relaxed);
            let n = world.cycles_until_taken_up();
            // Three of the longest rests at most.
            assert!(n < 3 * 512, "{are_free:?}: {n} cycles after {n_wrong} wrong ones");
        }
    }
}
