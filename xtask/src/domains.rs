//! `cargo xtask domains`: prompts of three domains, as one user's days bring them, for measuring what is learnt.
//!
//! Made here from templates and word lists, so nothing of any evaluation set is in them. Each domain has a part to
//! learn from and one that is held out: other names, numbers and tasks in the same manner.

use anyhow::Context;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder for NAME-train.jsonl and NAME-held-out.jsonl
    #[arg(long, value_name = "FOLDER", default_value = "target/domains")]
    out: PathBuf,
    /// Prompts to learn from in each domain; a quarter as many are held out
    #[arg(long, default_value_t = 120)]
    prompts: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    type Make = fn(&mut Random, bool) -> String;
    let domains: [(&str, Make); 3] = [("json", json_service), ("code", code_style), ("maths", school_maths)];
    for (name, make) in domains {
        for (part, n, is_held_out) in
            [("train", options.prompts, false), ("held-out", options.prompts.div_ceil(4), true)]
        {
            let mut random = Random(if is_held_out { 7_919 } else { 104_729 });
            let lines = (0..n).map(|i| {
                let line = json!({ "id": format!("{name}-{part}-{i}"), "task": name, "turns": [make(&mut random, is_held_out)] });
                line.to_string() + "\n"
            });
            write(&options.out.join(format!("{name}-{part}.jsonl")), &lines.collect::<String>())?;
        }
    }
    Ok(())
}

pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// A service that turns orders into JSON.
fn json_service(random: &mut Random, is_held_out: bool) -> String {
    const NAMES: [&str; 24] = [
        "Ayla Demir",
        "Tomas Novak",
        "Priya Nair",
        "Jonas Weber",
        "Lucia Rossi",
        "Omar Haddad",
        "Mei Tanaka",
        "Carlos Ruiz",
        "Eva Lindqvist",
        "Kofi Mensah",
        "Nora Bauer",
        "Ivan Petrov",
        "Sara Cohen",
        "Luis Ortega",
        "Hana Kim",
        "Piotr Kowal",
        "Amina Diallo",
        "Ben Carter",
        "Zoe Martin",
        "Erik Hansen",
        "Farah Aziz",
        "Marek Zelenka",
        "Ines Costa",
        "Yusuf Kaya",
    ];
    const CITIES: [&str; 16] = [
        "Izmir", "Brno", "Pune", "Bonn", "Turin", "Amman", "Osaka", "Seville", "Malmo", "Accra", "Graz",
        "Sofia", "Haifa", "Bilbao", "Busan", "Poznan",
    ];
    const GOODS: [&str; 16] = [
        "desk lamp",
        "office chair",
        "notebook",
        "water bottle",
        "backpack",
        "keyboard",
        "monitor stand",
        "whiteboard",
        "coffee grinder",
        "rain jacket",
        "bike lock",
        "phone case",
        "head torch",
        "tea kettle",
        "bookshelf",
        "wall clock",
    ];
    let (name, city) = (random.half(&NAMES, is_held_out), random.half(&CITIES, is_held_out));
    let mut text = format!(
        "Extract the order as JSON with the keys customer, city, items (a list of objects with name, quantity and \
         unit_price), shipping and total. Answer with the JSON only.\n\n{name} from {city} orders "
    );
    let n_items = 1 + random.below(3);
    for i in 0..n_items {
        let (good, quantity, price) =
            (random.half(&GOODS, is_held_out), 1 + random.below(6), 3 + random.below(90));
        text += &format!("{}{quantity} x {good} at {price}.50 euros each", if i > 0 { ", " } else { "" });
    }
    text + &format!(" with {} shipping.", random.pick(&["standard", "express", "pick-up"]))
}

/// Functions in one code base's manner.
fn code_style(random: &mut Random, is_held_out: bool) -> String {
    const THINGS: [&str; 16] = [
        "invoice",
        "customer",
        "shipment",
        "product",
        "warehouse",
        "supplier",
        "payment",
        "refund",
        "coupon",
        "review",
        "employee",
        "contract",
        "ticket",
        "campaign",
        "vehicle",
        "booking",
    ];
    const TASKS: [&str; 12] = [
        "load a {} by its id from the repository",
        "save a {} and return its id",
        "list all {}s that changed since a date",
        "delete a {} if nobody uses it",
        "count the {}s of a region",
        "rename a {}",
        "copy a {} under a new id",
        "archive every {} older than a number of days",
        "merge two {}s into one",
        "check that a {} has all required fields",
        "export all {}s as CSV text",
        "find the {} with the largest amount",
    ];
    let task = random.half(&TASKS, is_held_out).replace("{}", random.half(&THINGS, is_held_out));
    format!(
        "Write a Python function for our code base. House style: type hints, a docstring in Google style with Args, Returns \
         and Raises, `logger.debug` at the start, guard clauses that raise `DomainError`, results wrapped in `Result.ok(...)`, \
         no comments. Code only.\n\nTask: {task}."
    )
}

/// Word problems with worked solutions.
fn school_maths(random: &mut Random, is_held_out: bool) -> String {
    const NAMES: [&str; 16] = [
        "Mia", "Leo", "Ada", "Finn", "Zara", "Ravi", "Lena", "Omar", "Nina", "Hugo", "Ivy", "Max", "Elif",
        "Joao", "Kira", "Sven",
    ];
    const THINGS: [&str; 16] = [
        "apples", "marbles", "pencils", "stickers", "cards", "shells", "tickets", "cookies", "coins",
        "stamps", "plants", "books", "balloons", "candles", "buttons", "tiles",
    ];
    let (name, things) = (random.half(&NAMES, is_held_out), random.half(&THINGS, is_held_out));
    let (a, b, c) = (3 + random.below(20), 2 + random.below(9), 2 + random.below(7));
    let problem = match random.below(5) {
        0 => format!(
            "{name} buys {a} boxes with {b} {things} each and gives {c} {things} away. How many are left?"
        ),
        1 => {
            format!("{name} has {} {things} and puts them into {b} equal rows. How many are in a row?", a * b)
        }
        2 => format!(
            "A pack of {things} costs {b}.25 euros. {name} buys {a} packs and pays with a 200 euro note. What is the change?"
        ),
        3 => format!(
            "{name} collects {a} {things} a day for {b} days and loses {c} of them. How many are there in the end?"
        ),
        _ => format!(
            "{name} and a friend share {} {things} in the ratio {b} to {c}. How many does {name} get?",
            a * (b + c)
        ),
    };
    format!(
        "Solve step by step, one numbered step a line, and end with 'Answer: ' and the number.\n\n{problem}"
    )
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    /// One of the last quarter for what is held out, else one of the others.
    fn half<'a>(&mut self, items: &[&'a str], is_held_out: bool) -> &'a str {
        let at = items.len() / 4 * 3;
        self.pick(if is_held_out { &items[at..] } else { &items[..at] })
    }
}
