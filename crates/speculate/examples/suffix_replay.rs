//! What the n-gram drafter is worth on texts that are known, and what it costs.
//!
//! `suffix_replay TEXTS [HISTORY [N_TOKENS]]`; a text is a line `task start token token …`, and its answer begins
//! at token number `start`. The first answers of HISTORY, N_TOKENS long together, are known from the start.
//! `ROW_COST` is what a drafted row costs of a pass, 0.05 by default, `WIDTH` the alternatives per token, 1, `DEPTH`
//! the tokens of a path, 7.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;
use std::{env, fs, process};

use nano_reasoning_speculate::{DEFAULT_HISTORY_TOKENS, HistoryStore, NgramDrafter, Replay, ReplayCounts};

struct Text {
    task: String,
    start: usize,
    tokens: Vec<u32>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let texts = read(args.first().ok_or("usage: suffix_replay TEXTS [HISTORY [N_TOKENS]]")?)?;
    let number = |name: &str, default: f64| env::var(name).map_or(Ok(default), |value| value.parse());
    let (row_cost, width) = (number("ROW_COST", 0.05)?, number("WIDTH", 1.0)? as usize);
    let depth = number("DEPTH", 7.0)? as usize;
    let folder = env::temp_dir().join(format!("suffix_replay.{}", process::id()));
    let mut store = HistoryStore::open(&folder, "replay", DEFAULT_HISTORY_TOKENS)?;
    if let Some(path) = args.get(1) {
        let mut n_left = args.get(2).map_or(Ok(DEFAULT_HISTORY_TOKENS), |n| n.parse())?;
        for text in read(path)? {
            // A few tokens before the answer say where answers begin.
            let answer = &text.tokens[text.start.saturating_sub(3)..];
            let answer = &answer[..answer.len().min(n_left)];
            store.append(answer)?;
            n_left -= answer.len();
        }
    }
    store.save_index()?;
    drop(store);
    let began = Instant::now();
    let store = HistoryStore::open(&folder, "replay", DEFAULT_HISTORY_TOKENS)?;
    let load_ms = began.elapsed().as_secs_f64() * 1e3;
    println!("history: {} tokens, loaded in {load_ms:.1} ms", store.summary().n_tokens);
    drop(store);
    println!(
        "{:<16}{:>6}{:>7}{:>7}{:>9}{:>12}{:>12}",
        "task",
        "texts",
        "τ(3)",
        format!("τ({depth})"),
        format!("rows({depth})"),
        "µs a draft",
        "longest"
    );
    let mut tasks: BTreeMap<&str, (usize, [ReplayCounts; 2])> = BTreeMap::new();
    for (place, max_depth) in [3, depth].into_iter().enumerate() {
        let mut replay = Replay::new(max_depth, width, row_cost);
        let store = HistoryStore::open(&folder, "replay", DEFAULT_HISTORY_TOKENS)?;
        let mut drafter = NgramDrafter::new(Some(store));
        for text in &texts {
            let counts = replay.run(&mut drafter, &text.tokens, text.start)?;
            for task in [text.task.as_str(), "~ all"] {
                let (n_texts, sums) = tasks.entry(task).or_default();
                *n_texts += 1 - place;
                sums[place] += counts;
            }
        }
    }
    for (task, (n_texts, [three, seven])) in &tasks {
        let n_verifies = seven.n_verifies.max(1) as f64;
        println!(
            "{task:<16}{n_texts:>6}{:>7.2}{:>7.2}{:>9.2}{:>12.1}{:>12.1}",
            three.mean_accepted_length(),
            seven.mean_accepted_length(),
            seven.n_drafted as f64 / n_verifies,
            seven.draft_time.as_secs_f64() * 1e6 / n_verifies,
            seven.longest_draft.as_secs_f64() * 1e6,
        );
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn read(path: &str) -> Result<Vec<Text>, Box<dyn Error>> {
    let parse = |line: &str| -> Result<Text, Box<dyn Error>> {
        let mut words = line.split(' ');
        let task = words.next().unwrap_or_default().to_owned();
        let start = words.next().ok_or("a line needs a task and a start")?.parse()?;
        let tokens = words.map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        Ok(Text { task, start, tokens })
    };
    fs::read_to_string(path)?.lines().map(parse).collect()
}
