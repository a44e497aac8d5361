//! The real binary, driven as a user or a script drives it.
//!
//! Nothing here reads or writes the user's own files or asks a network: each [`common::Sandbox`] has a home
//! folder of its own, and its model is a few kilobytes that recite the alphabet.
#![forbid(unsafe_code)]

mod chat;
mod checkpoints;
mod common;
mod configuration;
mod drafters;
mod generate;
mod help;
mod history;
mod measurements;
mod model_files;
mod output_files;
mod real_model;
mod signals;
mod store;
mod terminal;
mod trace;
mod usage;
