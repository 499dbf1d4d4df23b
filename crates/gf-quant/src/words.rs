//! Bytes in 32-bit integers, the smallest type that every backend has.

use burn::{
    module::{Param, ParamId},
    tensor::{DType, ElementConversion, Int, Tensor, TensorData, backend::Backend},
};

const BYTES_PER_WORD: usize = 4;

/// Packs bytes: byte `k` of word `j` is byte `k · n_words + j`, so that unpacking puts
/// whole runs behind each other; `[ceil(n_bytes / 4)]`.
pub(crate) fn pack<B: Backend>(bytes: &[u8], device: &B::Device) -> Param<Tensor<B, 1, Int>> {
    let n_words = bytes.len().div_ceil(BYTES_PER_WORD);
    let byte = |k: usize, j: usize| bytes.get(k * n_words + j).copied().unwrap_or(0);
    let word = |j| i32::from_le_bytes(std::array::from_fn(|k| byte(k, j)));
    let data = TensorData::new((0..n_words).map(word).collect::<Vec<i32>>(), [n_words]);
    Param::initialized(ParamId::new(), Tensor::from_data(data, (device, DType::I32)))
}

/// The first `n_bytes` bytes as integers 0…255.
pub(crate) fn unsigned<B: Backend>(
    words: &Param<Tensor<B, 1, Int>>,
    n_bytes: usize,
) -> Tensor<B, 1, Int> {
    let words = words.val();
    let byte = |k: i32| {
        let low = words.clone().bitwise_right_shift_scalar((8 * k).elem());
        low.bitwise_and_scalar(0xff.elem())
    };
    Tensor::cat((0..BYTES_PER_WORD as i32).map(byte).collect(), 0).narrow(0, 0, n_bytes)
}

/// The first `n_bytes` bytes as integers −128…127.
pub(crate) fn signed<B: Backend>(
    words: &Param<Tensor<B, 1, Int>>,
    n_bytes: usize,
) -> Tensor<B, 1, Int> {
    let words = words.val();
    let byte = |k: i32| {
        // Left then arithmetic right: the sign of byte k fills the word.
        let top = words.clone().bitwise_left_shift_scalar((24 - 8 * k).elem());
        top.bitwise_right_shift_scalar(24.elem())
    };
    Tensor::cat((0..BYTES_PER_WORD as i32).map(byte).collect(), 0).narrow(0, 0, n_bytes)
}

/// Numbers that training leaves alone, `[n]`.
pub(crate) fn frozen<B: Backend>(values: Vec<f32>, device: &B::Device) -> Param<Tensor<B, 1>> {
    let n_values = values.len();
    let tensor = Tensor::from_data(TensorData::new(values, [n_values]), device);
    Param::initialized(ParamId::new(), tensor).set_require_grad(false)
}
