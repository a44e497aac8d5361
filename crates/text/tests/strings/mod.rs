//! A thousand varied strings that never change: the golden ids belong to them.

/// Pieces that tokenizers are known to disagree on.
const PIECES: &[&[&str]] = &[
    // Code.
    &[
        "fn main() {\n    println!(\"{}\", x);\n}\n",
        "def f(a, *, b=None):\n\treturn a[::-1] if b is None else f(b)\n",
        "#include <stdio.h>\r\nint main(void) {\r\n\treturn 0;\r\n}\r\n",
        "SELECT * FROM t WHERE id >= 10 AND name LIKE '%x%';",
        "for (let i=0;i<n;++i){sum+=i**2;}// done\n\n\n",
        "<div class=\"a b\"><!-- c --></div>",
        "{\"key\": [1, 2.5e-10, null, true], \"é\": \"\\u00e9\\n\"}",
        "let x: Vec<Option<&'static str>> = vec![];",
        "if(x!=null&&y||!z)?a:b",
        "    if a:\n        if b:\n            pass\n",
        "x = lambda: (yield)\n\n\n\n    # end",
        "https://example.org/a/b?c=1&d=%20#frag",
        "s/[^a-z]*\\(foo\\|bar\\)$/\\1/g",
        "0xDEADBEEF 0b1010 1_000_000 3.14f32 1e9",
        "----====****++++////\\\\\\\\",
        "$HOME/.config && echo \"$@\" | sed -e 's/a/b/' > /dev/null 2>&1",
    ],
    // Words, contractions and apostrophes.
    &[
        "Don't",
        "IT'S",
        "we'LL",
        "I'm",
        "they've",
        "you'd've",
        "rock'n'roll",
        "O'Reilly's",
        "it\u{2019}s",
        "'\u{17f}",
        "'S",
        "'s",
        "'re",
        "''s",
        "'ll'LL'd'D",
        " 'tis",
        "The quick brown fox",
        " jumps over",
        "hello",
        "HELLO",
        "Hello, World!",
        "naïve café",
        "ﬁne ﬂow",
        "Straße",
        "ǅ ǈ",
        "İstanbul ı",
        "co-operate",
        "e.g.",
        "U.S.A.",
    ],
    // East Asian.
    &[
        "日本語のテキスト。",
        "中文字符，测试！",
        "한국어 문장입니다.",
        "㍿㈱",
        "ｆｕｌｌｗｉｄｔｈ",
        "ﾊﾝｶｸ",
        "々〆〇",
        "「引用」",
        "𠮷野家",
        "你好\u{3000}世界",
        "아\u{1100}\u{1161}",
        "ㄅㄆㄇ",
        "漢字かな交じり文",
    ],
    // Other scripts, right to left included.
    &[
        "שלום עולם",
        "مرحبا بالعالم",
        "\u{202e}abc\u{202c}",
        "\u{200f}عَرَبِيّ\u{200e}",
        "بِسْمِ ٱللَّهِ",
        "Привет, мир",
        "Καλημέρα",
        "नमस्ते दुनिया",
        "ภาษาไทยไม่มีวรรค",
        "தமிழ்",
        "বাংলা",
        "ქართული",
        "አማርኛ",
        "ខ្មែរ",
        "Việt Nam",
        "ᚠᛇᚻ",
        "𓀀𓂀",
        "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
        "yidish ייִדיש",
        "עִבְרִית",
    ],
    // Emoji.
    &["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "🇩", "☺️", "☺", "1️⃣", "👩🏾‍💻", "🫠🫡", "❤️‍🔥", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🤷‍♂️", "✨✨✨"],
    // White space.
    &[
        " ",
        "  ",
        "   ",
        "       ",
        "\t",
        "\t\t",
        "\n",
        "\n\n",
        "\n\n\n",
        "\r\n",
        "\r",
        "\r\n\r\n",
        " \n",
        "\n ",
        "\t \n",
        "\u{a0}",
        "\u{a0}\u{a0}",
        "\u{3000}",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{b}",
        "\u{c}",
        "\u{2003}\u{2009}",
        "\u{1680}",
        "\u{202f}",
        "                                ",
        "\n\t\t\t",
        " \t ",
    ],
    // Joins that make no sense, marks without a base, characters that are none.
    &[
        "\u{301}",
        "e\u{301}",
        "é",
        "a\u{308}\u{323}",
        "\u{200d}",
        "\u{200c}",
        "\u{200b}",
        "\u{feff}",
        "\u{fe0f}",
        "\u{2060}",
        "\u{ad}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{fdd0}",
        "\u{e000}",
        "\u{f8ff}",
        "\u{10ffff}",
        "\u{0}",
        "\u{1}",
        "\u{7f}",
        "\u{1b}[0m",
        "\u{20dd}",
        "z\u{335}a\u{321}l\u{322}g\u{327}o\u{328}",
        "\u{e0001}",
        "क\u{94d}",
        "\u{200d}\u{200d}\u{fe0f}",
        "ffi\u{200c}ffi",
    ],
    // Numbers.
    &[
        "0",
        "7",
        "42",
        "123",
        "1234",
        "12345",
        "1234567890",
        "3.14159",
        "-1",
        "1,000,000",
        "١٢٣",
        "१२३",
        "１２３",
        "²³",
        "½¾",
        "Ⅷⅸ",
        "①②",
        "10:30",
        "2026-11-25",
        "99%",
        "$5.00",
        "€12",
        "1st",
        "v1.2.3",
        "٠.٥",
        "𝟙𝟚",
        "一二三",
        "0000000000000000",
    ],
    // What looks like a marker.
    &[
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<tool_call>",
        "</tool_call>",
        "<|fim_prefix|>",
        "<|im_end",
        "|>",
        "<",
        "<|",
        "<|file_sep|>",
        "<repo_name>",
        "<file_sep>",
        "<|im_start|>user\n",
        "<s>",
        "</s>",
        "[INST]",
        "<|eot_id|>",
    ],
    // Punctuation and symbols.
    &[
        "!",
        "?!",
        "...",
        "…",
        "—",
        "–",
        "“quoted”",
        "«»",
        "¿¡",
        "§¶†",
        "©®™",
        "°C",
        "±×÷",
        "∑∫∂√∞",
        "→⇒↔",
        "■□▲",
        "│┌┐└┘",
        "$$$",
        "###",
        "@user",
        "#tag",
        "^_^",
        "~~",
        "``````",
        "(((",
        "]]]",
        "!?!?!?",
        " .",
        " ,",
        " ;)",
        "α+β=γ",
        "<=>",
        "|||",
    ],
];

/// xorshift64*: the standard library has no random numbers, and these must stay the same forever.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % n
    }
}

/// The strings, in order.
pub(crate) fn strings() -> Vec<String> {
    let mut random = Random(0x5eed);
    let mut strings: Vec<String> = vec![String::new()];
    // Every piece alone, so that a difference is found in the smallest text.
    strings.extend(PIECES.iter().flat_map(|group| group.iter()).map(|piece| (*piece).to_string()));
    // Long words and runs.
    for (unit, n) in [
        ("a", 1000),
        ("ab", 400),
        ("Donaudampfschifffahrtsgesellschaft", 20),
        (" ", 257),
        ("\n", 130),
        ("\t", 65),
        ("日", 300),
        ("é", 200),
        ("😀", 64),
        ("-", 300),
        ("0", 100),
        ("ha", 333),
        ("=", 80),
        ("\r\n", 40),
        (" a", 100),
        ("ACGT", 250),
        ("\u{301}", 50),
        ("<|", 60),
        ("_", 77),
        ("()", 50),
        ("'s", 40),
        ("\u{200d}", 20),
        ("أ", 90),
        ("w\u{fe0f}", 30),
    ] {
        strings.push(unit.repeat(n));
    }
    while strings.len() < 1000 {
        let kind = random.below(10);
        let mut text = String::new();
        match kind {
            // Any characters at all, from planes in use.
            0 => {
                for _ in 0..1 + random.below(40) {
                    let limit = [0x80, 0x250, 0x3000, 0xffff, 0x1_ffff][random.below(5)];
                    text.extend(char::from_u32(random.below(limit) as u32));
                }
            }
            // One group, nothing between.
            1..=3 => {
                let group = PIECES[random.below(PIECES.len())];
                for _ in 0..1 + random.below(12) {
                    text.push_str(group[random.below(group.len())]);
                }
            }
            // All groups, white space between or not.
            _ => {
                for _ in 0..1 + random.below(16) {
                    let group = PIECES[random.below(PIECES.len())];
                    text.push_str(group[random.below(group.len())]);
                    if random.below(3) > 0 {
                        text.push_str([" ", "", "\n", "  "][random.below(4)]);
                    }
                }
            }
        }
        strings.push(text);
    }
    strings
}
