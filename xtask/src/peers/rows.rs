//! The table's rows: what was measured, and what the project wants.

use super::Model;
use super::correctness::Compared;
use super::measure::{Measured, Side};
use super::samples::Samples;
use serde_json::{Value, json};

/// A figure for both sides.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) model: String,
    pub(super) ours: String,
    pub(super) theirs: Option<String>,
    /// Ours ÷ theirs.
    pub(super) ratio: Option<f64>,
    pub(super) wanted: Option<Wanted>,
}

/// A goal, and the number that is held against it: the ratio, or our figure alone.
pub(super) struct Wanted {
    judged: f64,
    at_least: Limit,
    aim: Limit,
    /// Whether the number is one that cannot be, so that nothing follows from it.
    is_doubtful: bool,
}

#[derive(Clone, Copy)]
enum Limit {
    NotLess(f64),
    NotMore(f64),
}
use Limit::{NotLess, NotMore};

impl Limit {
    fn is_met(self, value: f64) -> bool {
        match self {
            NotLess(limit) => value >= limit,
            NotMore(limit) => value <= limit,
        }
    }

    fn show(self) -> String {
        let (sign, limit) = match self {
            NotLess(limit) => ('≥', limit),
            NotMore(limit) => ('≤', limit),
        };
        if limit < 0.01 { format!("{sign} {limit:e}") } else { format!("{sign} {limit}") }
    }
}

impl Wanted {
    pub(super) fn verdict(&self) -> &'static str {
        if self.is_doubtful {
            return "unclear";
        }
        match (self.at_least.is_met(self.judged), self.aim.is_met(self.judged)) {
            (true, true) => "yes, the aim",
            (true, false) => "yes",
            (false, _) => "no",
        }
    }
}

impl Row {
    fn new(what: impl Into<String>, model: &Model, ours: impl Into<String>) -> Self {
        let (what, model, ours) = (what.into(), model.name.clone(), ours.into());
        Self { what, model, ours, theirs: None, ratio: None, wanted: None }
    }

    fn theirs(mut self, theirs: impl Into<String>, ratio: f64) -> Self {
        (self.theirs, self.ratio) = (Some(theirs.into()), Some(ratio));
        self
    }

    fn wanted(mut self, judged: f64, at_least: Limit, aim: Limit) -> Self {
        self.wanted = Some(Wanted { judged, at_least, aim, is_doubtful: false });
        self
    }

    fn doubtful_if(mut self, is_doubtful: bool) -> Self {
        self.wanted.iter_mut().for_each(|wanted| wanted.is_doubtful = is_doubtful);
        self
    }

    fn wanted_if(self, is_wanted: bool, judged: f64, at_least: Limit, aim: Limit) -> Self {
        if is_wanted { self.wanted(judged, at_least, aim) } else { self }
    }

    /// Cells of a line of the table, under [`HEAD`].
    pub(super) fn cells(&self) -> [String; 8] {
        let wanted = self.wanted.as_ref();
        [
            self.what.clone(),
            self.model.clone(),
            self.ours.clone(),
            self.theirs.clone().unwrap_or_default(),
            self.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            wanted.map(|wanted| wanted.at_least.show()).unwrap_or_default(),
            wanted.map(|wanted| wanted.aim.show()).unwrap_or_default(),
            wanted.map(|wanted| wanted.verdict().to_owned()).unwrap_or_default(),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let wanted = self.wanted.as_ref();
        let clear = wanted.filter(|wanted| !wanted.is_doubtful);
        json!({
            "what": self.what,
            "model": self.model,
            "ours": self.ours,
            "llama_cpp": self.theirs,
            "ratio": self.ratio,
            "judged": wanted.map(|wanted| wanted.judged),
            "at_least": wanted.map(|wanted| wanted.at_least.show()),
            "aim": wanted.map(|wanted| wanted.aim.show()),
            "is_met": clear.map(|wanted| wanted.at_least.is_met(wanted.judged)),
            "is_aim_met": clear.map(|wanted| wanted.aim.is_met(wanted.judged)),
        })
    }
}

pub(super) const HEAD: [&str; 8] = ["what", "model", "ours", "llama.cpp", "ratio", "at least", "aim", "met?"];

/// Rows on speed and memory.
pub(super) fn of_speed(model: &Model, measured: &Measured) -> Vec<Row> {
    let Measured { ours, theirs, .. } = measured;
    let is_main = model.is_main();
    let read_ms = measured.read_ms.min();
    let higher = |what: String, ours: &Samples, theirs: &Samples| {
        let ratio = ours.max() / theirs.max();
        (Row::new(what, model, ours.show_max()).theirs(theirs.show_max(), ratio), ratio)
    };

    let (our_ms, their_ms) = (best(ours, 1), best(theirs, 1));
    // A pass reads all of its weights. One that takes less time than the plain read shows that memory is
    // faster than the plain read made it look: then the pass is the better measure of the limit.
    let limit_ms = read_ms.min(our_ms).min(their_ms);
    // How much of what memory allows llama.cpp gets: where that is little, more is wanted of us.
    let share = theirs.decode_tokens_per_s.max() * limit_ms / 1e3;
    let what = format!("decode tok/s (llama.cpp: {:.0} % of the read limit)", 100.0 * share);
    let (row, ratio) = higher(what, &ours.decode_tokens_per_s, &theirs.decode_tokens_per_s);
    let (at_least, aim) = if share < 0.65 { (1.4, 1.7) } else { (1.0, 1.15) };
    let decode = row.wanted(ratio, NotLess(at_least), NotLess(aim));
    let what = "prefill 512 tok/s".to_owned();
    let (row, ratio) = higher(what, &ours.prefill_tokens_per_s, &theirs.prefill_tokens_per_s);
    let prefill = row.wanted(ratio, NotLess(1.0), NotLess(1.3));
    let mut rows = vec![decode, prefill];

    rows.push(Row::new("read of one token's weights, ms", model, measured.read_ms.show_min()));
    let over_read = our_ms / read_ms;
    rows.push(
        Row::new("T(1) ÷ read", model, format!("{over_read:.2} ({our_ms:.1} ms)"))
            .theirs(format!("{:.2} ({their_ms:.1} ms)", their_ms / read_ms), our_ms / their_ms)
            .wanted_if(is_main, over_read, NotMore(1.25), NotMore(1.1))
            .doubtful_if(over_read < 1.0),
    );
    let is_avx512 = measured.isa.starts_with("avx512");
    let limits = [
        (2, None),
        (4, Some((1.25, 1.1))),
        (8, Some(if is_avx512 { (1.5, 1.2) } else { (1.6, 1.3) })),
        (16, Some((2.2, 1.5))),
    ];
    for (n_tokens, limits) in limits {
        let (our_ms, their_ms) = (best(ours, n_tokens), best(theirs, n_tokens));
        let (our_cost, their_cost) = (our_ms / best(ours, 1), their_ms / best(theirs, 1));
        let row = Row::new(format!("T({n_tokens})/T(1)"), model, format!("{our_cost:.2} ({our_ms:.1} ms)"))
            .theirs(format!("{their_cost:.2} ({their_ms:.1} ms)"), our_cost / their_cost);
        let (at_least, aim) = limits.unwrap_or((f64::NAN, f64::NAN));
        rows.push(row.wanted_if(is_main && limits.is_some(), our_cost, NotMore(at_least), NotMore(aim)));
    }
    if let Some((n_cached, passes)) = &measured.long_context {
        let ms = |n_tokens| passes.get(&n_tokens).copied().unwrap_or(f64::NAN);
        let cost = ms(8) / ms(1);
        let what = format!("T(8)/T(1), {n_cached} tokens in the cache");
        let row = Row::new(what, model, format!("{cost:.2} ({:.1} ms)", ms(8)));
        rows.push(row.wanted(cost, NotMore(1.7), NotMore(1.4)));
    }

    let ratio = ours.first_token_ms.min() / theirs.first_token_ms.min();
    let what = format!("start to first token, ms ({} tokens with template)", measured.n_prompt_tokens);
    rows.push(
        Row::new(what, model, ours.first_token_ms.show_min())
            .theirs(theirs.first_token_ms.show_min(), ratio)
            .wanted_if(is_main, ratio, NotMore(1.0), NotMore(0.5)),
    );
    if let (Some(ours), Some(theirs)) = (ours.peak_bytes, theirs.peak_bytes) {
        let needed = (measured.weights_bytes + measured.cache_bytes) as f64;
        let (ours, theirs) = (ours as f64, theirs as f64);
        let show = |bytes: f64| format!("{:.3} ({:.0} MB)", bytes / needed, bytes / 1e6);
        let what = format!("peak resident memory ÷ weights + KV, {:.0} MB", needed / 1e6);
        rows.push(Row::new(what, model, show(ours)).theirs(show(theirs), ours / theirs).wanted(
            ours / needed,
            NotMore(1.1),
            NotMore(1.05),
        ));
    }
    rows
}

/// Rows on answers and distributions.
pub(super) fn of_correctness(model: &Model, compared: &Compared) -> Vec<Row> {
    let (n_equal, n) = (compared.n_equal(), compared.answers.len());
    let most = n as f64 / 2.0 + 0.5;
    let what = format!("same greedy text, of {n} prompts");
    let same = Row::new(what, model, n_equal.to_string());
    let divergence = |what: &str, kl: f64, theirs: f64| {
        let row = Row::new(what, model, format!("{kl:.2e}")).theirs(format!("{theirs:.2e}"), kl / theirs);
        row.wanted(kl, NotMore(1e-3), NotMore(1e-3))
    };
    vec![
        same.wanted(n_equal as f64, NotLess(most.ceil()), NotLess(n as f64)),
        divergence(
            "KL per token to llama.cpp, mean (its own: without flash attention)",
            compared.mean_kl,
            compared.their_mean_kl,
        ),
        divergence(
            "KL per token to the same weights in 32 bits, mean",
            compared.mean_kl_to_exact,
            compared.their_mean_kl_to_exact,
        ),
    ]
}

fn best(side: &Side, n_tokens: usize) -> f64 {
    side.pass_ms.get(&n_tokens).map_or(f64::NAN, Samples::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(judged: f64, at_least: Limit, aim: Limit) -> &'static str {
        Wanted { judged, at_least, aim, is_doubtful: false }.verdict()
    }

    #[test]
    fn goals_are_judged_in_their_direction() {
        assert_eq!(verdict(1.2, NotLess(1.0), NotLess(1.3)), "yes");
        assert_eq!(verdict(1.3, NotLess(1.0), NotLess(1.3)), "yes, the aim");
        assert_eq!(verdict(1.3, NotMore(1.25), NotMore(1.1)), "no");
        assert_eq!(verdict(1.1, NotMore(1.25), NotMore(1.1)), "yes, the aim");
        assert_eq!(verdict(f64::NAN, NotMore(1.25), NotMore(1.1)), "no");
    }

    #[test]
    fn nothing_follows_from_an_impossible_number() {
        let model = Model { name: "m".to_owned(), path: "m.gguf".into() };
        let row = |ratio: f64| {
            let row = Row::new("T(1) ÷ read", &model, "").wanted(ratio, NotMore(1.25), NotMore(1.1));
            row.doubtful_if(ratio < 1.0)
        };
        assert_eq!(
            (row(0.9).cells()[7].as_str(), row(1.05).cells()[7].as_str()),
            ("unclear", "yes, the aim")
        );
        assert!(row(0.9).json()["is_met"].is_null());
        assert_eq!(row(1.05).json()["is_met"], true);
    }

    #[test]
    fn limits_read_well() {
        assert_eq!(NotLess(1.15).show(), "≥ 1.15");
        assert_eq!(NotMore(1e-3).show(), "≤ 1e-3");
    }
}
