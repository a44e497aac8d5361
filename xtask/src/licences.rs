//! Every dependency's licence must be one that asks for no more than its own text.

use crate::workspace::{self, packages, text};
use anyhow::bail;

/// SPDX identifiers that may be shipped with an MIT program.
const PERMISSIVE: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages under other licences, and why they may be used.
const EXCEPTIONS: [(&str, &str, &str); 1] = [(
    "option-ext",
    "MPL-2.0",
    "copyleft for its own files only, which we do not change; through hf-hub and dirs",
)];

pub(crate) fn run() -> anyhow::Result<()> {
    let metadata = workspace::metadata(true)?;
    let mut faults = Vec::new();
    for package in packages(&metadata) {
        let (name, version) = (text(package, "name"), text(package, "version"));
        let licence = text(package, "license");
        if let Some((.., reason)) = EXCEPTIONS.iter().find(|(n, l, _)| (*n, *l) == (name, licence)) {
            println!("{name} {version}, {licence}: {reason}");
        } else if !is_permissive(licence) {
            faults.push(format!("{name} {version}: licence '{licence}'"));
        }
    }
    if !faults.is_empty() {
        bail!("not on the list of permissive licences:\n{}", faults.join("\n"));
    }
    println!("{} packages", packages(&metadata).len());
    Ok(())
}

/// Whether one may choose permissive terms from an SPDX expression. Old manifests write `/` for `OR`.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest).is_some_and(|permissive| permissive && rest.is_empty())
}

/// `all OR all OR …`; nothing if the words are no expression.
fn any(rest: &mut &[&str]) -> Option<bool> {
    let mut permissive = all(rest)?;
    while take(rest, "OR") {
        permissive |= all(rest)?;
    }
    Some(permissive)
}

/// `term AND term AND …`
fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut permissive = term(rest)?;
    while take(rest, "AND") {
        permissive &= term(rest)?;
    }
    Some(permissive)
}

/// `( any )`, `identifier` or `identifier WITH exception`
fn term(rest: &mut &[&str]) -> Option<bool> {
    if take(rest, "(") {
        let permissive = any(rest)?;
        return take(rest, ")").then_some(permissive);
    }
    let (identifier, after) = rest.split_first()?;
    *rest = after;
    if !take(rest, "WITH") {
        return Some(PERMISSIVE.contains(identifier));
    }
    let (exception, after) = rest.split_first()?;
    *rest = after;
    Some(PERMISSIVE.contains(&format!("{identifier} WITH {exception}").as_str()))
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    let found = rest.first() == Some(&word);
    if found {
        *rest = &rest[1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spdx_expressions() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
            "MIT AND (GPL-2.0 OR ISC)",
        ] {
            assert!(is_permissive(expression), "{expression}");
        }
        for expression in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT Apache-2.0", "(MIT", "MIT WITH luck", "OR"]
        {
            assert!(!is_permissive(expression), "{expression}");
        }
    }
}
