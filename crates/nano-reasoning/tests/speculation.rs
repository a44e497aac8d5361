//! Speculation on a real model: the text of none, whatever drafts. Needs SmolLM2 in the store (`nano-reasoning pull
//! smollm2-135m`); without it each test says so and passes.

#[path = "support/small_model.rs"]
mod small_model;

use nano_reasoning::config::LearningStrategy;
use nano_reasoning::{
    Answer, CheckpointStore, DrafterChoice, FinishReason, GenerationConfig, Message, Orchestrator, Sampling,
    Speculation,
};
use small_model::MODEL;

const PROMPTS: [&str; 4] = [
    "Write a Python function that adds two numbers.",
    "List the days of the week, then list them again.",
    "Übersetze ins Englische: Guten Morgen.",
    "{\"name\": \"Ada\", \"age\": 36} — write three more lines like this.",
];

struct Setup {
    config: GenerationConfig,
    _folder: tempfile::TempDir,
}

/// A configuration of its own; `None` where the model is not there.
fn setup(choice: DrafterChoice, draft_count: u32) -> Option<Setup> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small_model::config(folder.path())?;
    // The same model drafts for itself: it is always right.
    config.overrides.drafter_model_id = (choice == DrafterChoice::Model).then(|| MODEL.into());
    config.overrides.draft_count = Some(draft_count);
    config.sampling.temperature = Some(0.0);
    config.speculation =
        Speculation { drafter: choice, is_fixed: true, is_history_off: true, ..Speculation::default() };
    Some(Setup { config, _folder: folder })
}

fn open(setup: &Setup) -> Orchestrator {
    let mut orchestrator = Orchestrator::new(setup.config.clone());
    orchestrator.initialize().unwrap();
    orchestrator
}

fn answers(orchestrator: &mut Orchestrator, sampling: &Sampling, max_tokens: usize) -> Vec<Answer> {
    orchestrator.set_sampling(sampling.clone()).unwrap();
    PROMPTS.iter().map(|prompt| orchestrator.generate(prompt, max_tokens, |_| true).unwrap()).collect()
}

fn settings() -> [Sampling; 3] {
    let greedy = Sampling { temperature: Some(0.0), ..Sampling::default() };
    let warm = Sampling { temperature: Some(0.8), seed: Some(4), ..Sampling::default() };
    [greedy, warm.clone(), Sampling { repetition_penalty: Some(1.2), min_p: Some(0.05), ..warm }]
}

/// Answers with drafts equal those without, in three ways of sampling.
fn changes_no_token(setup: &Setup) -> Orchestrator {
    let mut orchestrator = open(setup);
    for sampling in settings() {
        orchestrator.set_speculating(false);
        let plain = answers(&mut orchestrator, &sampling, 40);
        orchestrator.engine().unwrap().reset().unwrap();
        orchestrator.set_speculating(true);
        let drafted = answers(&mut orchestrator, &sampling, 40);
        for (plain, drafted) in plain.iter().zip(&drafted) {
            assert_eq!(plain.tokens, drafted.tokens);
            assert_eq!((&plain.text, plain.finish_reason), (&drafted.text, drafted.finish_reason));
        }
    }
    orchestrator
}

#[test]
fn a_draft_model_changes_no_token() {
    let Some(setup) = setup(DrafterChoice::Model, 5) else { return };
    let orchestrator = changes_no_token(&setup);
    let statistics = orchestrator.session_statistics();
    // It knows the logits and random numbers; not the penalty, nor tokens that are rare and new.
    assert!(statistics.average_acceptance_rate.unwrap() > 0.5, "{statistics:?}");
    assert!(statistics.mean_accepted_length.unwrap() > 1.5);
}

#[test]
fn a_head_changes_no_token() {
    for draft_count in [1, 5] {
        let Some(setup) = setup(DrafterChoice::Head, draft_count) else { return };
        let orchestrator = changes_no_token(&setup);
        let statistics = orchestrator.session_statistics();
        // Trained for minutes, on other text; a head that is read wrongly has next to nothing.
        assert!(statistics.average_acceptance_rate.unwrap() > 0.25, "{statistics:?}");
    }
}

#[test]
fn a_model_named_by_its_file_has_the_head_that_ships() {
    let Some(mut setup) = setup(DrafterChoice::Head, 5) else { return };
    let store = nano_reasoning::Machine::look(&setup.config).unwrap().store;
    let path = store.resolve(MODEL).unwrap().path;
    setup.config.overrides.target_model_id = Some(path.to_str().unwrap().to_owned());
    let mut orchestrator = open(&setup);
    assert_eq!(orchestrator.engine().unwrap().info.model, MODEL);
    let answer = orchestrator.generate(PROMPTS[0], 8, |_| true).unwrap();
    assert!(answer.speculation.n_drafted > 0, "{:?}", answer.speculation);
}

#[test]
fn copying_changes_no_token() {
    for draft_count in [1, 7] {
        let Some(setup) = setup(DrafterChoice::Ngram, draft_count) else { return };
        let orchestrator = changes_no_token(&setup);
        let statistics = &orchestrator.session_statistics().speculation;
        assert!(statistics.n_drafted > 0 && statistics.n_accepted > 0, "{statistics:?}");
    }
}

#[test]
fn a_chat_after_a_cut_answer_equals_a_cold_one() {
    let Some(setup) = setup(DrafterChoice::Model, 6) else { return };
    let mut warm = open(&setup);
    let mut messages = vec![Message::user(PROMPTS[1])];
    // Cut by the token limit, perhaps within an accepted run.
    for max_tokens in [1, 7, 8, 9, 20] {
        warm.engine().unwrap().reset().unwrap();
        messages.truncate(1);
        let first = warm.chat(&messages, max_tokens, |_| true).unwrap();
        assert_eq!(first.finish_reason, FinishReason::MaxTokens);
        assert_eq!(first.tokens.len(), max_tokens);
        messages.push(Message::assistant(first.text));
        messages.push(Message::user("Go on."));
        let second = warm.chat(&messages, 24, |_| true).unwrap();
        assert!(second.n_cached_tokens > 0);
        warm.engine().unwrap().reset().unwrap();
        let cold = warm.chat(&messages, 24, |_| true).unwrap();
        assert_eq!(second.tokens, cold.tokens, "after an answer of {max_tokens} tokens");
    }
}

#[test]
fn a_cancelled_answer_leaves_a_sound_cache() {
    let Some(setup) = setup(DrafterChoice::Model, 6) else { return };
    let mut orchestrator = open(&setup);
    let whole = orchestrator.generate(PROMPTS[0], 40, |_| true).unwrap();
    for n_pieces in [1, 3, 10] {
        let mut n_seen = 0;
        let cut = orchestrator
            .generate(PROMPTS[0], 40, |piece| {
                n_seen += usize::from(!piece.is_empty());
                n_seen < n_pieces
            })
            .unwrap();
        assert_eq!(cut.finish_reason, FinishReason::Cancelled);
        assert!(whole.tokens.starts_with(&cut.tokens));
        let again = orchestrator.generate(PROMPTS[0], 40, |_| true).unwrap();
        assert_eq!(again.tokens, whole.tokens);
    }
}

#[test]
fn stop_texts_inside_a_draft_end_the_answer_there() {
    let Some(setup) = setup(DrafterChoice::Model, 7) else { return };
    let mut orchestrator = open(&setup);
    let whole = orchestrator.generate(PROMPTS[0], 40, |_| true).unwrap();
    let middle: String = whole.text.chars().skip(20).take(5).collect();
    let greedy = Sampling { temperature: Some(0.0), stop: vec![middle.clone()], ..Sampling::default() };
    orchestrator.set_sampling(greedy).unwrap();
    let before = orchestrator.session_statistics().speculation.n_emitted;
    let cut = orchestrator.generate(PROMPTS[0], 40, |_| true).unwrap();
    assert_eq!(cut.finish_reason, FinishReason::Stop);
    assert_eq!(cut.text, whole.text[..whole.text.find(&middle).unwrap()]);
    let statistics = orchestrator.session_statistics();
    assert_eq!(statistics.speculation.n_emitted - before, cut.tokens.len() as u64 - 1);
}

#[test]
fn a_full_context_ends_an_answer_as_without_drafts() {
    let Some(mut setup) = setup(DrafterChoice::Model, 8) else { return };
    setup.config.context_len = Some(64);
    let mut orchestrator = open(&setup);
    orchestrator.set_speculating(false);
    let plain = orchestrator.generate(PROMPTS[1], 200, |_| true).unwrap();
    orchestrator.engine().unwrap().reset().unwrap();
    orchestrator.set_speculating(true);
    let drafted = orchestrator.generate(PROMPTS[1], 200, |_| true).unwrap();
    assert_eq!(plain.finish_reason, FinishReason::ContextFull);
    assert_eq!((plain.tokens, plain.finish_reason), (drafted.tokens, drafted.finish_reason));
}

#[test]
fn two_orchestrators_do_not_disturb_each_other() {
    let Some(setup) = setup(DrafterChoice::Model, 4) else { return };
    let (mut one, mut two) = (open(&setup), open(&setup));
    let alone = one.generate(PROMPTS[0], 24, |_| true).unwrap();
    let both = std::thread::scope(|scope| {
        let one = scope.spawn(|| one.generate(PROMPTS[0], 24, |_| true).unwrap());
        let two = scope.spawn(|| two.generate(PROMPTS[0], 24, |_| true).unwrap());
        [one.join().unwrap(), two.join().unwrap()]
    });
    assert!(both.iter().all(|answer| answer.tokens == alone.tokens));
}

#[test]
fn a_frozen_head_learns_all_but_gradients() {
    for strategy in LearningStrategy::ALL {
        let Some(mut setup) = setup(DrafterChoice::Auto, 5) else { return };
        let memory = setup._folder.path().join("memory");
        setup.config.overrides.strategy = Some(strategy);
        setup.config.speculation.memory_dir = Some(memory.clone());
        setup.config.speculation.is_history_off = false;
        let mut orchestrator = open(&setup);
        assert_eq!(orchestrator.trainer().is_some(), strategy.trains(), "{strategy}");
        let first = orchestrator.generate(PROMPTS[0], 40, |_| true).unwrap();
        orchestrator.engine().unwrap().reset().unwrap();
        let again = orchestrator.generate(PROMPTS[0], 40, |_| true).unwrap();
        assert_eq!(again.tokens, first.tokens, "{strategy}");
        // The first answer is drafted from.
        let (before, after) = (first.speculation.n_verifies, again.speculation.n_verifies);
        assert!(after < before, "{strategy}: {before} {after}");
        drop(orchestrator);
        assert!(memory.join("history").is_dir(), "{strategy}");
        assert!(strategy.trains() || !memory.join("profiles").exists(), "{strategy}");
    }
}

/// The model drafts for itself, so that there is little to learn: that all parts work together is what is tested here.
#[test]
fn a_draft_model_learns_beside_answers_and_goes_on_where_it_was() {
    let Some(mut setup) = setup(DrafterChoice::Model, 3) else { return };
    let memory = setup._folder.path().join("memory");
    setup.config.overrides.strategy = Some(LearningStrategy::Lora);
    setup.config.speculation.memory_dir = Some(memory.clone());
    setup.config.speculation.is_history_off = false;
    let mut orchestrator = open(&setup);
    let mut learnt = Vec::new();
    for prompt in PROMPTS {
        learnt.push(orchestrator.generate(prompt, 24, |_| true).unwrap().tokens);
        orchestrator.trainer().unwrap().wait();
    }
    let status = orchestrator.trainer().unwrap().status();
    assert_eq!((status.n_answers, status.error.clone()), (4, None));
    assert!(status.n_steps > 0 && !status.decisions.is_empty(), "{status:?}");
    let checkpoints = CheckpointStore::new(&memory, "default", MODEL).unwrap().paths();
    let n_accepted = status.decisions.iter().filter(|decision| decision.is_accepted).count();
    assert_eq!(checkpoints.len(), n_accepted.min(3));
    drop(orchestrator);

    // It goes on from what was kept, if something was.
    let mut orchestrator = open(&setup);
    let n_steps = orchestrator.trainer().unwrap().status().n_steps;
    assert_eq!(n_steps > 0, n_accepted > 0);
    assert_eq!(orchestrator.generate(PROMPTS[0], 24, |_| true).unwrap().tokens, learnt[0]);
    drop(orchestrator);

    setup.config.overrides.strategy = Some(LearningStrategy::Frozen);
    let mut orchestrator = open(&setup);
    assert!(orchestrator.trainer().is_none());
    for (prompt, learnt) in PROMPTS.into_iter().zip(learnt) {
        assert_eq!(orchestrator.generate(prompt, 24, |_| true).unwrap().tokens, learnt);
    }
    drop(orchestrator);

    setup.config.overrides.strategy = Some(LearningStrategy::Eagle);
    let error = Orchestrator::new(setup.config).initialize().unwrap_err().to_string();
    assert!(error.contains("--strategy lora"), "{error}");
}

#[test]
fn a_draft_model_that_is_asked_for_and_not_known_is_an_error() {
    let Some(mut setup) = setup(DrafterChoice::Model, 4) else { return };
    setup.config.overrides.drafter_model_id = None;
    let error = Orchestrator::new(setup.config.clone()).initialize().unwrap_err().to_string();
    assert!(error.contains("no draft model") && error.contains("--drafter-model"), "{error}");
    setup.config.overrides.drafter_model_id = Some("./nowhere.gguf".into());
    assert!(Orchestrator::new(setup.config).initialize().is_err());
}

#[test]
fn a_head_and_n_grams_together_change_no_token() {
    let Some(mut setup) = setup(DrafterChoice::Auto, 4) else { return };
    setup.config.overrides.drafter_model_id = None;
    for is_fixed in [true, false] {
        setup.config.speculation.is_fixed = is_fixed;
        let mut orchestrator = changes_no_token(&setup);
        let statistics = orchestrator.engine().unwrap().decoder().statistics();
        let names: Vec<&str> = statistics.drafters.iter().map(|drafter| drafter.name.as_str()).collect();
        assert_eq!(names, ["head", "ngram"]);
        assert!(statistics.drafters.iter().all(|drafter| drafter.n_proposed > 0), "{statistics:?}");
    }
}

#[test]
fn a_draft_model_that_was_named_drafts_beside_the_head() {
    let Some(mut setup) = setup(DrafterChoice::Auto, 4) else { return };
    setup.config.overrides.drafter_model_id = Some(MODEL.into());
    // The head is what learns.
    setup.config.overrides.strategy = Some(LearningStrategy::Eagle);
    let mut orchestrator = changes_no_token(&setup);
    let drafters = &orchestrator.machine().unwrap().drafters;
    assert_eq!((drafters.head.as_deref(), drafters.model.as_deref()), (Some("shipped"), Some(MODEL)));
    let statistics = orchestrator.engine().unwrap().decoder().statistics();
    let names: Vec<&str> = statistics.drafters.iter().map(|drafter| drafter.name.as_str()).collect();
    assert_eq!(names, ["head", "model", "ngram"]);
    assert!(statistics.n_accepted > 0, "{statistics:?}");
}

#[test]
fn training_starts_when_asked_unless_somebody_set_it_off() {
    assert!(matches!(
        Orchestrator::new(GenerationConfig::default()).start_training(),
        Err(nano_reasoning::Error::NotInitialized)
    ));
    let Some(mut setup) = setup(DrafterChoice::Head, 4) else { return };
    let mut orchestrator = open(&setup);
    assert!(orchestrator.trainer().is_none(), "this tier does not train by itself");
    orchestrator.start_training().unwrap();
    orchestrator.start_training().unwrap();
    orchestrator.generate(PROMPTS[1], 40, |_| true).unwrap();
    let trainer = orchestrator.trainer().unwrap();
    trainer.wait();
    assert_eq!(trainer.status().n_answers, 1);

    setup.config.overrides.strategy = Some(LearningStrategy::Frozen);
    let error = open(&setup).start_training().unwrap_err().to_string();
    assert!(error.starts_with("training is off: --"), "{error}");
    setup.config.overrides.strategy = None;
    setup.config.speculation.drafter = DrafterChoice::Ngram;
    let error = open(&setup).start_training().unwrap_err().to_string();
    assert!(error.contains("neither a head nor a draft model"), "{error}");
}
