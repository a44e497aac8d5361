//! 16 rows of f32, f16 or bf16 times a tile of f32 columns: four running sums, over every fourth
//! column each, then added in pairs.

use crate::BlockType;
use crate::activations::DenseTile;
use crate::packed_matrix::dense_weight;
use crate::product::TileOut;

pub(crate) fn dense_tile(block_type: BlockType, group: &[u8], x: &DenseTile, out: &mut TileOut) {
    for (column, out) in out.iter_mut().enumerate().take(x.width) {
        for (row, out) in out.iter_mut().enumerate() {
            let mut sums = [0.0f32; 4];
            for (i, x) in x.values.chunks_exact(x.width).enumerate() {
                sums[i % 4] = dense_weight(block_type, group, i, row).mul_add(x[column], sums[i % 4]);
            }
            *out = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        }
    }
}
