//! What each number may be. The texts complete "… is 7; wanted …".

/// A range of numbers, and its description.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit<T> {
    min: T,
    max: T,
    /// Whether `min` itself is too small.
    is_open: bool,
    pub(super) wanted: &'static str,
}

impl<T: PartialOrd> Limit<T> {
    /// Whether `value` is within; NaN is not.
    pub(super) fn allows(&self, value: T) -> bool {
        (if self.is_open { value > self.min } else { value >= self.min }) && value <= self.max
    }
}

pub(super) const GPU_UTILIZATION: Limit<f64> =
    Limit { min: 0.0, max: 1.0, is_open: true, wanted: "a number above 0 and at most 1" };
pub(super) const MAX_TOKENS: Limit<u32> =
    Limit { min: 1, max: 1_000_000, is_open: false, wanted: "a whole number from 1 to 1000000" };
pub(super) const TEMPERATURE: Limit<f64> =
    Limit { min: 0.0, max: 2.0, is_open: false, wanted: "a number from 0 to 2" };
pub(super) const DRAFT_COUNT: Limit<u32> =
    Limit { min: 0, max: 64, is_open: false, wanted: "a whole number from 0 (no speculation) to 64" };
pub(super) const LEARNING_RATE: Limit<f64> =
    Limit { min: 0.0, max: 1.0, is_open: true, wanted: "a number above 0 and at most 1" };
pub(super) const BATCH_SIZE: Limit<u32> =
    Limit { min: 1, max: 1024, is_open: false, wanted: "a whole number from 1 to 1024" };
pub(super) const BUFFER_CAPACITY: Limit<u32> =
    Limit { min: 1, max: 1_000_000, is_open: false, wanted: "a whole number from 1 to 1000000" };
