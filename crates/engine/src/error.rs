//! What can go wrong when an engine is asked for a pass.

/// An error of a [`crate::TargetModel`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More tokens than the KV cache has room for.
    #[error(
        "{wanted} tokens do not fit the context of {context_len} tokens ({used} used); shorten the prompt, start a new chat or take a larger context"
    )]
    ContextFull {
        /// Tokens asked for.
        wanted: usize,
        /// Tokens already in the cache.
        used: usize,
        /// Tokens the cache holds at most.
        context_len: usize,
    },
    /// A token id outside the vocabulary.
    #[error("token id {token} is outside the vocabulary of {vocab_size} tokens")]
    UnknownToken {
        /// The id found.
        token: u32,
        /// Ids wanted are below this.
        vocab_size: usize,
    },
    /// A token tree whose parent does not come before its child.
    #[error("node {node} of the token tree has parent {parent}; a parent must come before its child")]
    BadTree {
        /// Index of the node.
        node: usize,
        /// Its parent's index.
        parent: usize,
    },
    /// A tree that branches with more nodes than an engine scores at once.
    #[error("a token tree of {n_nodes} nodes is too large; at most {max} are scored at once")]
    TreeTooLarge {
        /// Nodes it has.
        n_nodes: usize,
        /// Nodes it may have.
        max: usize,
    },
    /// Rolling back to more tokens than are cached, or keeping nodes that are no path from the root.
    #[error("cannot keep {wanted}: the cache holds {have}")]
    BadRollback {
        /// What was asked for.
        wanted: String,
        /// What there is.
        have: String,
    },
    /// The machine behind the engine failed.
    #[error("the engine failed: {0}")]
    Device(String),
}
