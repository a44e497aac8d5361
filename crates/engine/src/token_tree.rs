//! Tokens of one pass: a chain, or a tree of alternatives.

use crate::{Error, Result};

/// Tokens to be scored in one pass. Node `i` follows its parent; a node without a parent follows the
/// last cached token. A chain (a prompt, a plain draft) is the tree in which each node follows the one
/// before. Parents come before their children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTree {
    tokens: Vec<u32>,
    parents: Vec<Option<u32>>,
}

impl TokenTree {
    /// A chain of tokens.
    pub fn chain(tokens: &[u32]) -> Self {
        let parents = (0..tokens.len() as u32).map(|i| i.checked_sub(1)).collect();
        Self { tokens: tokens.to_vec(), parents }
    }

    /// Appends a node and returns its index.
    ///
    /// # Errors
    /// [`Error::BadTree`] if `parent` is not an earlier node.
    pub fn push(&mut self, token: u32, parent: Option<usize>) -> Result<usize> {
        let node = self.tokens.len();
        if let Some(parent) = parent.filter(|&p| p >= node) {
            return Err(Error::BadTree { node, parent });
        }
        self.tokens.push(token);
        self.parents.push(parent.map(|p| p as u32));
        Ok(node)
    }

    /// Token ids, one a node.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The parent of `node`, `None` for one that follows the cached tokens.
    pub fn parent(&self, node: usize) -> Option<usize> {
        self.parents[node].map(|p| p as usize)
    }

    /// Whether each node follows the one before it.
    pub fn is_chain(&self) -> bool {
        self.parents.iter().enumerate().all(|(i, p)| p.map(|p| p as usize) == i.checked_sub(1))
    }

    /// Number of ancestors of each node: its position is that many past the cached tokens.
    pub fn depths(&self) -> Vec<usize> {
        let mut depths = vec![0; self.len()];
        for node in 0..self.len() {
            depths[node] = self.parent(node).map_or(0, |p| depths[p] + 1);
        }
        depths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_is_a_tree_with_one_branch() {
        let chain = TokenTree::chain(&[5, 6, 7]);
        assert!(chain.is_chain());
        assert_eq!(chain.depths(), [0, 1, 2]);
    }

    #[test]
    fn siblings_share_a_depth() {
        let mut tree = TokenTree::default();
        let root = tree.push(1, None).unwrap();
        tree.push(2, Some(root)).unwrap();
        tree.push(3, Some(root)).unwrap();
        assert!(!tree.is_chain());
        assert_eq!(tree.depths(), [0, 1, 1]);
    }

    #[test]
    fn rejects_a_parent_after_its_child() {
        assert!(matches!(TokenTree::default().push(1, Some(0)), Err(Error::BadTree { .. })));
    }
}
