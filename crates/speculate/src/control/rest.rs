//! How long to leave alone what does not pay: ever longer, to see now and then whether that has changed.

/// Cycles of the first rest; each time it still does not pay, twice as many, …
const FIRST: u32 = 4;
/// … up to this.
const MAX: u32 = 512;

/// Counts cycles of rest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rest {
    left: u32,
    next: u32,
}

impl Default for Rest {
    fn default() -> Self {
        Self { left: 0, next: FIRST }
    }
}

impl Rest {
    /// Counts a cycle; whether it is one to try in.
    pub(crate) fn is_over(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return false;
        }
        self.left = self.next;
        self.next = (2 * self.next).min(MAX);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_ever_more_rarely() {
        let mut rest = Rest::default();
        let tried: Vec<usize> = (0..2_000).filter(|_| rest.is_over()).collect();
        assert_eq!(tried[..5], [0, 4, 12, 28, 60]);
        assert_eq!(tried.last().unwrap() - tried[tried.len() - 2], 512);
    }
}
