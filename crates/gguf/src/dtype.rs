//! The element types of tensors and how their blocks are laid out.
//!
//! Ids, names and sizes are ggml's (`ggml.h`, `ggml-common.h`). Ids 4, 5, 31–33 and 36–38 named types that
//! ggml has removed; files that use them must be made again, so they are unknown here.

use std::fmt;

/// How a tensor's elements are stored. Named as ggml names them, less the underscore before a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // The name says it all: each is ggml's type of that name.
pub enum DType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Q8K,
    IQ2XXS,
    IQ2XS,
    IQ3XXS,
    IQ1S,
    IQ4NL,
    IQ3S,
    IQ2S,
    IQ4XS,
    I8,
    I16,
    I32,
    I64,
    F64,
    IQ1M,
    BF16,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
    Q1_0,
}

struct Layout {
    dtype: DType,
    id: u32,
    name: &'static str,
    /// Elements in a block.
    len: usize,
    /// Bytes of a block.
    bytes: usize,
}

const fn layout(dtype: DType, id: u32, name: &'static str, len: usize, bytes: usize) -> Layout {
    Layout { dtype, id, name, len, bytes }
}

/// One row a type, in the order of the enum.
const LAYOUTS: [Layout; 34] = [
    layout(DType::F32, 0, "F32", 1, 4),
    layout(DType::F16, 1, "F16", 1, 2),
    layout(DType::Q4_0, 2, "Q4_0", 32, 18),
    layout(DType::Q4_1, 3, "Q4_1", 32, 20),
    layout(DType::Q5_0, 6, "Q5_0", 32, 22),
    layout(DType::Q5_1, 7, "Q5_1", 32, 24),
    layout(DType::Q8_0, 8, "Q8_0", 32, 34),
    layout(DType::Q8_1, 9, "Q8_1", 32, 36),
    layout(DType::Q2K, 10, "Q2_K", 256, 84),
    layout(DType::Q3K, 11, "Q3_K", 256, 110),
    layout(DType::Q4K, 12, "Q4_K", 256, 144),
    layout(DType::Q5K, 13, "Q5_K", 256, 176),
    layout(DType::Q6K, 14, "Q6_K", 256, 210),
    layout(DType::Q8K, 15, "Q8_K", 256, 292),
    layout(DType::IQ2XXS, 16, "IQ2_XXS", 256, 66),
    layout(DType::IQ2XS, 17, "IQ2_XS", 256, 74),
    layout(DType::IQ3XXS, 18, "IQ3_XXS", 256, 98),
    layout(DType::IQ1S, 19, "IQ1_S", 256, 50),
    layout(DType::IQ4NL, 20, "IQ4_NL", 32, 18),
    layout(DType::IQ3S, 21, "IQ3_S", 256, 110),
    layout(DType::IQ2S, 22, "IQ2_S", 256, 82),
    layout(DType::IQ4XS, 23, "IQ4_XS", 256, 136),
    layout(DType::I8, 24, "I8", 1, 1),
    layout(DType::I16, 25, "I16", 1, 2),
    layout(DType::I32, 26, "I32", 1, 4),
    layout(DType::I64, 27, "I64", 1, 8),
    layout(DType::F64, 28, "F64", 1, 8),
    layout(DType::IQ1M, 29, "IQ1_M", 256, 56),
    layout(DType::BF16, 30, "BF16", 1, 2),
    layout(DType::TQ1_0, 34, "TQ1_0", 256, 54),
    layout(DType::TQ2_0, 35, "TQ2_0", 256, 66),
    layout(DType::MXFP4, 39, "MXFP4", 32, 17),
    layout(DType::NVFP4, 40, "NVFP4", 64, 36),
    layout(DType::Q1_0, 41, "Q1_0", 128, 18),
];

impl DType {
    /// Every type there is, by ascending id.
    pub fn all() -> impl Iterator<Item = Self> {
        LAYOUTS.iter().map(|layout| layout.dtype)
    }

    /// The type with ggml's number `id`.
    pub fn from_id(id: u32) -> Option<Self> {
        LAYOUTS.iter().find(|layout| layout.id == id).map(|layout| layout.dtype)
    }

    /// The type with ggml's name, in either case: `Q4_K`, `q4_k`.
    pub fn from_name(name: &str) -> Option<Self> {
        LAYOUTS.iter().find(|layout| layout.name.eq_ignore_ascii_case(name)).map(|layout| layout.dtype)
    }

    /// ggml's number of this type.
    pub fn id(self) -> u32 {
        self.layout().id
    }

    /// ggml's name of this type: `Q4_K`.
    pub fn name(self) -> &'static str {
        self.layout().name
    }

    /// Elements in a block; 1 for plain numbers. A tensor's rows hold whole blocks.
    pub fn block_len(self) -> usize {
        self.layout().len
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.layout().bytes
    }

    /// Bytes of `n_elements` elements; `None` if they are no whole number of blocks, or too many to count.
    pub fn bytes_for(self, n_elements: usize) -> Option<usize> {
        if !n_elements.is_multiple_of(self.block_len()) {
            return None;
        }
        (n_elements / self.block_len()).checked_mul(self.block_bytes())
    }

    fn layout(self) -> &'static Layout {
        &LAYOUTS[self as usize]
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_enum() {
        for (i, layout) in LAYOUTS.iter().enumerate() {
            assert_eq!(layout.dtype as usize, i, "{}", layout.name);
        }
        assert!(LAYOUTS.is_sorted_by(|a, b| a.id < b.id));
    }

    #[test]
    fn id_and_name_lead_back_to_the_type() {
        for dtype in DType::all() {
            assert_eq!(DType::from_id(dtype.id()), Some(dtype));
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
            assert_eq!(DType::from_name(&dtype.name().to_lowercase()), Some(dtype));
        }
    }

    #[test]
    fn removed_and_future_ids_are_unknown() {
        for id in [4, 5, 31, 32, 33, 36, 37, 38, 1000, u32::MAX] {
            assert_eq!(DType::from_id(id), None);
        }
    }

    #[test]
    fn counts_bytes_of_whole_blocks_only() {
        assert_eq!(DType::Q4K.bytes_for(512), Some(288));
        assert_eq!(DType::Q4K.bytes_for(500), None);
        assert_eq!(DType::F64.bytes_for(usize::MAX), None);
        assert_eq!(DType::MXFP4.bytes_for(0), Some(0));
    }
}
