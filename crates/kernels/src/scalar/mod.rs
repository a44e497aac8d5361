//! The plain definition of every kernel. Slow, and right: all other tables agree with it bit for bit.

mod attention;
mod dense_tile;
mod int8_tile;

pub(crate) use attention::{key_products, weighted_values};
pub(crate) use dense_tile::dense_tile;
pub(crate) use int8_tile::int8_tile;
