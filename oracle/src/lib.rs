//! Independent implementations as judges of ours; see `tests`.
#![forbid(unsafe_code)]
