//! "Did you mean …?": the candidate nearest to a mistyped word.

/// The candidate that `word` was most likely meant to be, if any is near enough: equal but for case and
/// separators, or at an edit distance of at most a third of the word.
pub(crate) fn near_miss<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word of a megabyte is no typing error; the distance below is quadratic.
    const MAX_CHARS: usize = 64;
    let folded = fold(word);
    if folded.is_empty() || folded.len() > MAX_CHARS {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&folded, &fold(candidate)), candidate))
        .filter(|&(distance, _)| distance <= folded.len().div_ceil(3).min(3))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Lower case, letters and digits only.
fn fold(word: &str) -> Vec<char> {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_key_behind_a_typing_error() {
        let keys = ["maxTokens", "temperature", "draftCount"];
        assert_eq!(near_miss("max_tokens", keys), Some("maxTokens"));
        assert_eq!(near_miss("maxTokesn", keys), Some("maxTokens"));
        assert_eq!(near_miss("temprature", keys), Some("temperature"));
        assert_eq!(near_miss("Draftcount", keys), Some("draftCount"));
    }

    #[test]
    fn stays_silent_when_nothing_is_near() {
        let keys = ["maxTokens", "temperature"];
        assert_eq!(near_miss("colour", keys), None);
        assert_eq!(near_miss("", keys), None);
        assert_eq!(near_miss(&"m".repeat(1 << 20), keys), None);
    }
}
