//! What both are asked: code, facts, other languages, numbers, odd characters.

pub(super) const PROMPTS: [&str; 20] = [
    "Write a Rust function that returns the longest common prefix of two strings.",
    "Write a Python function that checks whether a number is prime, without comments.",
    "What does this do? for (int i = 0; i < n; i++) s += a[i] * b[n - 1 - i];",
    "Name the planets of the solar system, in order from the Sun.",
    "Explain in two sentences why bread rises.",
    "Translate into French: The library closes at six on Sundays.",
    "Übersetze ins Englische: Der Zug nach München fährt um zwölf Uhr ab.",
    "请用一句话介绍长城。",
    "What is 17 times 23? Show the steps.",
    "List five fruits as a JSON array.",
    "Write an SQL query that counts the orders of each customer in 2024.",
    "Write a haiku about rain on a tin roof.",
    "Which is heavier, a kilogram of feathers or a kilogram of iron?",
    "Turn this into a polite request: give me the report now",
    "Write a shell command that finds all files larger than 10 MB below the current folder.",
    "What is the difference between a stack and a queue?",
    "Describe the emoji 🦀 and 🚲 in a few words each.",
    "Give me a regular expression for dates like 2024-05-31.",
    "Continue the series and say why: 2, 3, 5, 8, 13,",
    "Summarize: A cache keeps what was used lately close at hand, because it is likely to be used again soon.",
];
