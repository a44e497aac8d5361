//! Types of weight blocks as files store them.

/// How a file stores a row of weights: blocks of `block_len` weights in `block_bytes` bytes.
///
/// Names and layouts are GGUF's (ggml-common.h); `Affine*` is MLX's affine quantization, whose groups
/// are regrouped to `{scale, bias, codes}` by the loader, see [`BlockType::Affine4`].
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
    /// MLX 4 bits: a group of 64 weights is scale f32, bias f32, 32 bytes of codes, low nibble first;
    /// weight = scale · code + bias. Groups of 32 and 128 are split or repeated to 64 by the loader.
    Affine4,
    /// MLX 8 bits: a group of 64 weights is scale f32, bias f32, 64 bytes of codes.
    Affine8,
}

impl BlockType {
    /// Weights in a block.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q8_0 => 32,
            Self::Affine4 | Self::Affine8 => 64,
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
            Self::Affine4 => 40,
            Self::Affine8 => 72,
        }
    }
}
