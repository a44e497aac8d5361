//! Ends a streamed text where a stop string begins.

/// Watches streamed text for stop strings.
///
/// The text ends before the stop string that is complete first; of several that are complete with the
/// same character, before the longest. What was cut does not depend on how the text was cut into pieces.
/// Only text that can still be the beginning of a stop string is held back.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    /// Text not given out yet; its beginning matches the beginning of a stop string.
    held: String,
    /// Text given out by the last call.
    out: String,
    is_stopped: bool,
}

/// What may be shown of the text so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopPiece<'a> {
    /// Text that is certain not to belong to a stop string.
    pub text: &'a str,
    /// Whether a stop string was found: there will be no more text.
    pub is_stopped: bool,
}

impl StopStrings {
    /// Watches for `stops`; empty ones are ignored.
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let stops = stops.into_iter().map(Into::into).filter(|stop: &String| !stop.is_empty()).collect();
        Self { stops, ..Self::default() }
    }

    /// Adds `text` and gives out what is certain.
    pub fn push(&mut self, text: &str) -> StopPiece<'_> {
        self.out.clear();
        if !self.is_stopped {
            self.held.push_str(text);
            match self.find() {
                Some(start) => {
                    self.out.push_str(&self.held[..start]);
                    self.held.clear();
                    self.is_stopped = true;
                }
                None => {
                    let n_certain = self.held.len() - self.uncertain_len();
                    self.out.push_str(&self.held[..n_certain]);
                    self.held.drain(..n_certain);
                }
            }
        }
        StopPiece { text: &self.out, is_stopped: self.is_stopped }
    }

    /// Ends the text: gives out what was held back.
    pub fn finish(&mut self) -> &str {
        self.out.clear();
        std::mem::swap(&mut self.out, &mut self.held);
        &self.out
    }

    /// Where the first complete stop string begins.
    fn find(&self) -> Option<usize> {
        let matches = self.stops.iter().filter_map(|stop| Some((self.held.find(stop.as_str())?, stop.len())));
        matches.min_by_key(|&(start, len)| (start + len, start)).map(|(start, _)| start)
    }

    /// Length of the longest end of the held text that is a proper beginning of a stop string.
    fn uncertain_len(&self) -> usize {
        let is_beginning =
            |end: &str| self.stops.iter().any(|stop| stop.len() > end.len() && stop.starts_with(end));
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let starts = self.held.char_indices().map(|(start, _)| start);
        let mut near = starts.filter(|start| self.held.len() - start < longest);
        near.find(|&start| is_beginning(&self.held[start..])).map_or(0, |start| self.held.len() - start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run<'a>(stops: &[&str], pieces: impl IntoIterator<Item = &'a str>) -> (String, bool) {
        let mut watcher = StopStrings::new(stops.iter().copied());
        let mut text = String::new();
        let mut is_stopped = false;
        for piece in pieces {
            let piece = watcher.push(piece);
            text.push_str(piece.text);
            is_stopped = piece.is_stopped;
        }
        text.push_str(watcher.finish());
        (text, is_stopped)
    }

    #[test]
    fn cuts_before_a_stop_string_that_comes_in_pieces() {
        assert_eq!(run(&["\n\nUser:"], ["Hello.", "\n", "\nUs", "er: more"]), ("Hello.".to_string(), true));
    }

    #[test]
    fn gives_back_what_was_held_for_nothing() {
        assert_eq!(run(&["END"], ["the E", "N", "emy EN"]), ("the ENemy EN".to_string(), false));
    }

    #[test]
    fn holds_back_only_a_possible_beginning() {
        let mut watcher = StopStrings::new(["</s>"]);
        assert_eq!(watcher.push("a < b</"), StopPiece { text: "a < b", is_stopped: false });
        assert_eq!(watcher.push("div>"), StopPiece { text: "</div>", is_stopped: false });
    }

    #[test]
    fn the_string_complete_first_wins_then_the_longest() {
        assert_eq!(run(&["bcd", "c"], ["abcd"]), ("ab".to_string(), true));
        assert_eq!(run(&["c", "bc"], ["abcd"]), ("a".to_string(), true));
    }

    #[test]
    fn without_stop_strings_everything_passes() {
        let mut watcher = StopStrings::new(Vec::<String>::new());
        assert_eq!(watcher.push("abc"), StopPiece { text: "abc", is_stopped: false });
    }

    /// The definition: looks at the text after every character.
    fn naive(stops: &[String], text: &str) -> (String, bool) {
        for (i, c) in text.char_indices() {
            let so_far = &text[..i + c.len_utf8()];
            let longest = stops.iter().filter(|stop| so_far.ends_with(stop.as_str())).map(String::len).max();
            if let Some(len) = longest {
                return (so_far[..so_far.len() - len].to_string(), true);
            }
        }
        (text.to_string(), false)
    }

    proptest! {
        #[test]
        fn the_cut_does_not_depend_on_the_pieces(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            pieces in prop::collection::vec("[abcé]{0,5}", 0..12),
        ) {
            let stop_refs: Vec<&str> = stops.iter().map(String::as_str).collect();
            let got = run(&stop_refs, pieces.iter().map(String::as_str));
            prop_assert_eq!(got, naive(&stops, &pieces.concat()));
        }
    }
}
