//! What else is asked of the machine: its battery and other programs, as far as the system tells.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nano_reasoning_train::Allowance;

#[cfg(not(target_os = "macos"))]
use super::linux::entries;
use super::linux::text;

/// How long a look at the system holds.
const HOLDS: Duration = Duration::from_secs(2);
/// Below this share of the processors nothing is begun.
const LEAST_SHARE: f64 = 0.1;

/// Says what share of the processors background work may take.
pub(crate) struct Demand {
    /// Share that all programs together shall take at most.
    target: f64,
    root: PathBuf,
    looked: Option<(Instant, Option<Ticks>)>,
    allowance: Allowance,
}

/// Processor time since the start, in the system's ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    /// Of all processors, idle or not.
    all: u64,
    /// Not idle.
    busy: u64,
    /// This process's.
    own: u64,
}

impl Demand {
    /// All programs together shall take `target` of the processors at most.
    pub(crate) fn new(target: f64) -> Self {
        Self::at(PathBuf::from("/"), target)
    }

    fn at(root: PathBuf, target: f64) -> Self {
        Self { target, root, looked: None, allowance: Allowance { share: target, reason: None } }
    }

    /// What background work may take now.
    pub(crate) fn allowance(&mut self) -> Allowance {
        match self.looked {
            Some((at, _)) if at.elapsed() < HOLDS => {}
            _ => self.look(),
        }
        self.allowance
    }

    fn look(&mut self) {
        let ticks = ticks(&self.root);
        let before = self.looked.replace((Instant::now(), ticks)).and_then(|(_, ticks)| ticks);
        let others = before.zip(ticks).map_or(0.0, |(before, now)| others_share(before, now));
        let share = self.target - others;
        self.allowance = if is_on_battery(&self.root) {
            Allowance { share: 0.0, reason: Some("the machine runs on battery") }
        } else if share < LEAST_SHARE {
            Allowance { share: 0.0, reason: Some("other programs use the processors") }
        } else {
            Allowance { share, reason: None }
        };
    }
}

/// Share of the processors that other processes took between two looks.
fn others_share(before: Ticks, now: Ticks) -> f64 {
    let all = now.all.saturating_sub(before.all);
    let busy = now.busy.saturating_sub(before.busy);
    let own = now.own.saturating_sub(before.own);
    busy.saturating_sub(own) as f64 / all.max(1) as f64
}

/// Linux's; `None` elsewhere.
fn ticks(root: &Path) -> Option<Ticks> {
    let (all, busy) = parse_stat(&text(&root.join("proc/stat"))?)?;
    Some(Ticks { all, busy, own: parse_own_stat(&text(&root.join("proc/self/stat"))?)? })
}

/// All ticks and those not idle, by /proc/stat.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    // Time of guests, the last two, is in the first two already.
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let all = ticks.iter().fold(0u64, |sum, &ticks| sum.saturating_add(ticks));
    let idle = ticks.get(3)?.saturating_add(*ticks.get(4)?);
    Some((all, all.saturating_sub(idle)))
}

/// Ticks of this process and its threads, by /proc/self/stat.
fn parse_own_stat(text: &str) -> Option<u64> {
    // The second field is a name in parentheses, which may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

#[cfg(target_os = "macos")]
fn is_on_battery(_: &Path) -> bool {
    parse_pmset(&super::macos::command_output("pmset", &["-g", "batt"]))
}

#[cfg(not(target_os = "macos"))]
fn is_on_battery(root: &Path) -> bool {
    entries(&root.join("sys/class/power_supply")).iter().any(|supply| {
        let is = |file: &str, value: &str| text(&supply.join(file)).is_some_and(|text| text.trim() == value);
        // A mouse has a battery, too: its scope is a device.
        is("type", "Battery") && is("status", "Discharging") && !is("scope", "Device")
    })
}

/// Whether macOS's `pmset -g batt` says that the battery is drawn from.
#[cfg_attr(not(target_os = "macos"), allow(dead_code))]
fn parse_pmset(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.contains("'Battery Power'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_says() {
        let stat = "cpu  399074 36452 66543 363496 5236 0 581 4876 7 9\ncpu0 1 2 3\n";
        assert_eq!(parse_stat(stat), Some((876_258, 507_526)));
        assert_eq!(parse_stat("cpu  1 2 x\n"), None);
        let own = "24584 (a) b (c)) R 24574 24574 1173 0 -1 4194304 98 0 0 0 40 2 0 0 20 0 1 0\n";
        assert_eq!(parse_own_stat(own), Some(42));
        assert_eq!(parse_own_stat("1 (short) R 1"), None);
    }

    #[test]
    fn others_share_is_what_is_busy_and_not_ours() {
        let before = Ticks { all: 1000, busy: 500, own: 100 };
        let now = Ticks { all: 1200, busy: 650, own: 200 };
        assert!((others_share(before, now) - 0.25).abs() < 1e-9);
        assert_eq!(others_share(now, before), 0.0);
    }

    #[test]
    fn reads_what_macos_says() {
        assert!(parse_pmset(
            "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t87%; discharging\n"
        ));
        assert!(!parse_pmset("Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged\n"));
        assert!(!parse_pmset(""));
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn nothing_is_begun_on_battery() {
        let root = tempfile::tempdir().unwrap();
        let supply = |name: &str, files: &[(&str, &str)]| {
            let folder = root.path().join("sys/class/power_supply").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            files.iter().for_each(|(file, text)| std::fs::write(folder.join(file), text).unwrap());
        };
        let allowance = || Demand::at(root.path().into(), 0.85).allowance();
        assert_eq!(allowance(), Allowance { share: 0.85, reason: None });
        supply("hidpp", &[("type", "Battery\n"), ("status", "Discharging\n"), ("scope", "Device\n")]);
        supply("BAT0", &[("type", "Battery\n"), ("status", "Charging\n")]);
        assert_eq!(allowance().share, 0.85);
        supply("BAT0", &[("status", "Discharging\n")]);
        assert_eq!(allowance(), Allowance { share: 0.0, reason: Some("the machine runs on battery") });
    }
}
