//! Bytes in 32-bit integers, the smallest type that every backend has.

use burn::{
    module::{Param, ParamId},
    tensor::{DType, ElementConversion, Int, Tensor, TensorData, backend::Backend},
};

pub(crate) const BYTES_PER_WORD: usize = 4;

/// Packs bytes block by block: byte `k` of word `j` of a block is byte `k · n_words + j` of
/// it, so that unpacking puts whole runs behind each other; `[n_blocks · block_size / 4]`,
/// the last block filled up with zeros. `block_size` is a multiple of 4.
pub(crate) fn pack<B: Backend>(
    bytes: &[u8],
    block_size: usize,
    device: &B::Device,
) -> Param<Tensor<B, 1, Int>> {
    let n_words = block_size / BYTES_PER_WORD;
    let word = |block: &[u8], j: usize| {
        let byte = |k: usize| block.get(k * n_words + j).copied().unwrap_or(0);
        i32::from_le_bytes(std::array::from_fn(byte))
    };
    let block = |block| (0..n_words).map(move |j| word(block, j));
    let words: Vec<i32> = bytes.chunks(block_size).flat_map(block).collect();
    let shape = [words.len()];
    let data = TensorData::new(words, shape);
    Param::initialized(ParamId::new(), Tensor::from_data(data, (device, DType::I32)))
}

/// The first `n_bytes` bytes as integers 0…255.
pub(crate) fn unsigned<B: Backend>(
    words: &Param<Tensor<B, 1, Int>>,
    block_size: usize,
    n_bytes: usize,
) -> Tensor<B, 1, Int> {
    unpack(words, block_size, n_bytes, |words, k| {
        let low = words.bitwise_right_shift_scalar((8 * k).elem());
        low.bitwise_and_scalar(0xff.elem())
    })
}

/// The first `n_bytes` bytes as integers −128…127.
pub(crate) fn signed<B: Backend>(
    words: &Param<Tensor<B, 1, Int>>,
    block_size: usize,
    n_bytes: usize,
) -> Tensor<B, 1, Int> {
    unpack(words, block_size, n_bytes, |words, k| {
        // Left then arithmetic right: the sign of byte k fills the word.
        let top = words.bitwise_left_shift_scalar((24 - 8 * k).elem());
        top.bitwise_right_shift_scalar(24.elem())
    })
}

fn unpack<B: Backend>(
    words: &Param<Tensor<B, 1, Int>>,
    block_size: usize,
    n_bytes: usize,
    byte: impl Fn(Tensor<B, 2, Int>, i32) -> Tensor<B, 2, Int>,
) -> Tensor<B, 1, Int> {
    let words = words.val();
    let n_words = block_size / BYTES_PER_WORD;
    let n_blocks = words.dims()[0] / n_words;
    let blocks = words.reshape([n_blocks, n_words]);
    let bytes = (0..BYTES_PER_WORD as i32).map(|k| byte(blocks.clone(), k)).collect();
    Tensor::cat(bytes, 1).reshape([n_blocks * block_size]).narrow(0, 0, n_bytes)
}

/// Numbers that training leaves alone, `[n]`.
pub(crate) fn frozen<B: Backend>(values: Vec<f32>, device: &B::Device) -> Param<Tensor<B, 1>> {
    let n_values = values.len();
    let tensor = Tensor::from_data(TensorData::new(values, [n_values]), device);
    Param::initialized(ParamId::new(), tensor).set_require_grad(false)
}
