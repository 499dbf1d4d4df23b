//! A projection whose weights are signed bytes.

use burn::{
    module::{Module, Param, ParamId},
    nn::Linear,
    tensor::{DType, Int, Tensor, TensorData, backend::Backend},
};
use gf_model::Projection;

use crate::int8::{Int8Rows, MAX_CODE, quantize_rows};

/// Codes in one 32-bit integer, the smallest type that every backend has.
const CODES_PER_WORD: usize = 4;

/// `y = (x · codesᵀ) · absmax / 127 + b`, the codes unpacked for each product:
/// the portable form, equal on every backend.
#[derive(Module, Debug)]
pub struct Int8Linear<B: Backend> {
    /// Byte `k` of word `j` is column `k · n_words + j`; `[d_output, n_words]`.
    words: Param<Tensor<B, 2, Int>>,
    /// `absmax / 127` of each output channel.
    scale: Param<Tensor<B, 1>>,
    bias: Option<Param<Tensor<B, 1>>>,
    d_input: usize,
}

impl<B: Backend> Int8Linear<B> {
    /// Quantises a dense projection, one scale per output channel.
    pub fn from_linear(linear: &Linear<B>) -> Self {
        let weight = linear.weight.val();
        let [d_input, d_output] = weight.dims();
        let device = weight.device();
        let rows: Vec<f32> = weight.transpose().into_data().iter::<f32>().collect();
        let Int8Rows { codes, absmax } = quantize_rows(&rows, d_input);
        let n_words = d_input.div_ceil(CODES_PER_WORD);
        let words: Vec<i32> = codes.chunks(d_input).flat_map(|row| pack(row, n_words)).collect();
        let words = TensorData::new(words, [d_output, n_words]);
        let scale: Vec<f32> = absmax.iter().map(|absmax| absmax / MAX_CODE).collect();
        let scale = Tensor::from_data(TensorData::new(scale, [d_output]), &device);
        let frozen = |tensor: Tensor<B, 1>| {
            Param::initialized(ParamId::new(), tensor.detach()).set_require_grad(false)
        };
        Self {
            words: Param::initialized(
                ParamId::new(),
                Tensor::from_data(words, (&device, DType::I32)),
            ),
            scale: frozen(scale),
            bias: linear.bias.as_ref().map(|bias| frozen(bias.val())),
            d_input,
        }
    }

    /// Bytes held: packed codes, scales and bias.
    pub fn num_bytes(&self) -> usize {
        let floats = self.scale.shape().num_elements()
            + self.bias.as_ref().map_or(0, |bias| bias.shape().num_elements());
        size_of::<i32>() * self.words.shape().num_elements() + size_of::<f32>() * floats
    }

    /// The codes as floating-point numbers, `[d_input, d_output]`.
    fn codes(&self) -> Tensor<B, 2> {
        let words = self.words.val();
        let byte = |k: i32| {
            // Left then arithmetic right: the sign of byte k fills the word.
            let top = words.clone().bitwise_left_shift_scalar(elem::<B>(24 - 8 * k));
            top.bitwise_right_shift_scalar(elem::<B>(24))
        };
        let columns = Tensor::cat((0..CODES_PER_WORD as i32).map(byte).collect(), 1);
        columns.narrow(1, 0, self.d_input).float().transpose()
    }
}

fn elem<B: Backend>(shift: i32) -> B::IntElem {
    burn::tensor::ElementConversion::elem(shift)
}

/// Packs one row of codes, column `k · n_words + j` into byte `k` of word `j`.
fn pack(codes: &[i8], n_words: usize) -> impl Iterator<Item = i32> + '_ {
    let byte = move |k: usize, j: usize| {
        let code = codes.get(k * n_words + j).copied().unwrap_or(0);
        i32::from(code as u8) << (8 * k)
    };
    (0..n_words).map(move |j| (0..CODES_PER_WORD).fold(0, |word, k| word | byte(k, j)))
}

impl<B: Backend> Projection<B> for Int8Linear<B> {
    fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        let product = input.matmul(self.codes().unsqueeze());
        let scaled = product * self.scale.val().unsqueeze();
        match &self.bias {
            Some(bias) => scaled + bias.val().unsqueeze(),
            None => scaled,
        }
    }
}
