//! Types of weight blocks as files store them.

/// How a file stores a row of weights: blocks of `block_len` weights in `block_bytes` bytes.
///
/// Names and layouts are GGUF's (ggml-common.h), but for [`BlockType::Affine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, non_camel_case_types)]
pub enum BlockType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
    /// MLX's affine quantization; a block is scale, bias and codes of a group.
    Affine(AffineType),
}

/// MLX's affine quantization: `weight = scale · code + bias` with unsigned codes, low nibble first, and one
/// 16-bit scale and bias for each group of neighbouring columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AffineType {
    /// Whether codes have 8 bits, else 4.
    pub is_8_bit: bool,
    /// Whether groups are of 32 columns, else of 64 (or of 128, which count as two).
    pub is_group_32: bool,
    /// Whether scales and biases are bf16, else f16.
    pub is_bf16: bool,
}

impl AffineType {
    /// Bits of a code.
    pub fn bits(self) -> usize {
        if self.is_8_bit { 8 } else { 4 }
    }

    /// Columns of a group.
    pub fn group_len(self) -> usize {
        if self.is_group_32 { 32 } else { 64 }
    }
}

impl BlockType {
    /// Weights in a block.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q8_0 => 32,
            Self::Affine(affine) => affine.group_len(),
            Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
            Self::Affine(affine) => 4 + affine.group_len() * affine.bits() / 8,
        }
    }
}
