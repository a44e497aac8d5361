//! placeholder
mod catalogue;
pub use catalogue::{Catalogue, Content, Entry, FileSpec, FolderSpec, PipPart, Role};
