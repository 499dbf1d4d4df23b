//! A projection whose weights are 4-bit NormalFloat.

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use gf_model::Projection;

use super::{StoredBytes, add_bias, bias_bytes, host_values};
use crate::{
    double::{DYNAMIC_MAP, NESTED_BLOCK_SIZE},
    kernels::{self, Side},
    nf4::{Absmax, BLOCK_SIZE, LEVELS, Nf4},
    words::{frozen, pack, unsigned},
};

/// Two codes a byte.
pub(crate) const BLOCK_BYTES: usize = BLOCK_SIZE / 2;

/// `y = x · Wᵀ + b`, `W` unpacked for each product and dropped after it: the portable
/// form, equal on every backend. With the features `wgpu` and `cuda`, a GPU's kernel
/// unpacks `W` tile by tile instead.
///
/// Nothing here is trained: a gradient passes through to the input by the transposed
/// product alone. On Flex and these GPUs the autodiff graph keeps the codes for it, and
/// unpacks `W` once more; on other backends it keeps `W` in floating point.
#[derive(Module, Debug)]
pub struct Nf4Linear<B: Backend> {
    /// Two codes a byte, filled up to whole blocks.
    pub(crate) words: Param<Tensor<B, 1, Int>>,
    pub(crate) scales: BlockScales<B>,
    pub(crate) bias: Option<Param<Tensor<B, 1>>>,
    pub(crate) d_input: usize,
    pub(crate) d_output: usize,
}

/// The absolute maximum of each block.
#[derive(Module, Debug)]
pub(crate) enum BlockScales<B: Backend> {
    Single(Param<Tensor<B, 1>>),
    Double(DoubleScales<B>),
}

#[derive(Module, Debug)]
pub(crate) struct DoubleScales<B: Backend> {
    /// A position in the dynamic map each, filled up to whole nested blocks.
    pub(crate) words: Param<Tensor<B, 1, Int>>,
    pub(crate) nested_absmax: Param<Tensor<B, 1>>,
    pub(crate) offset: f32,
}

impl<B: Backend> Nf4Linear<B> {
    /// Quantises a dense projection, its scales too.
    pub fn from_linear(linear: &Linear<B>) -> Self {
        let [d_input, d_output] = linear.weight.dims();
        let (weight, bias) = host_values(linear);
        let nf4 = Nf4::quantize_double(&weight);
        Self::new(&nf4, [d_output, d_input], bias, &linear.weight.device())
    }

    /// From weights quantised before, row-major `[d_output, d_input]`.
    pub fn new(
        nf4: &Nf4,
        [d_output, d_input]: [usize; 2],
        bias: Option<Vec<f32>>,
        device: &B::Device,
    ) -> Self {
        Self {
            words: pack(&nf4.packed, BLOCK_BYTES, device),
            scales: BlockScales::new(&nf4.absmax, device),
            bias: bias.map(|bias| frozen(bias, device)),
            d_input,
            d_output,
        }
    }

    /// `input · Wᵀ`.
    pub(crate) fn product(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        kernels::nf4_product(self, &input, Side::Forward)
            .unwrap_or_else(|| input.matmul(self.dequantize().transpose().unsqueeze()))
    }

    /// `gradient · W`.
    pub(crate) fn transposed_product(&self, gradient: Tensor<B, 3>) -> Tensor<B, 3> {
        kernels::nf4_product(self, &gradient, Side::Transposed)
            .unwrap_or_else(|| gradient.matmul(self.dequantize().unsqueeze()))
    }

    /// The weights in floating point, `[d_output, d_input]`.
    pub fn dequantize(&self) -> Tensor<B, 2> {
        let n_values = self.d_output * self.d_input;
        let n_blocks = n_values.div_ceil(BLOCK_SIZE);
        let pairs = unsigned(&self.words, BLOCK_BYTES, n_blocks * BLOCK_BYTES);
        let levels = level_pairs(&pairs.device()).select(0, pairs);
        let scales = self.scales.dequantize(n_blocks).reshape([n_blocks, 1]);
        let blocks = levels.reshape([n_blocks, BLOCK_SIZE]) * scales;
        let flat = blocks.reshape([n_blocks * BLOCK_SIZE]).narrow(0, 0, n_values);
        flat.reshape([self.d_output, self.d_input])
    }
}

impl<B: Backend> BlockScales<B> {
    fn new(absmax: &Absmax, device: &B::Device) -> Self {
        match absmax {
            Absmax::Single(absmax) => Self::Single(frozen(absmax.clone(), device)),
            Absmax::Double(double) => Self::Double(DoubleScales {
                words: pack(&double.codes, NESTED_BLOCK_SIZE, device),
                nested_absmax: frozen(double.nested_absmax.clone(), device),
                offset: double.offset,
            }),
        }
    }

    /// One number a block, `[n_blocks]`.
    fn dequantize(&self, n_blocks: usize) -> Tensor<B, 1> {
        match self {
            Self::Single(absmax) => absmax.val(),
            Self::Double(double) => double.dequantize().narrow(0, 0, n_blocks),
        }
    }

    fn num_bytes(&self) -> usize {
        match self {
            Self::Single(absmax) => size_of::<f32>() * absmax.shape().num_elements(),
            Self::Double(DoubleScales { words, nested_absmax, .. }) => {
                let n_words = words.shape().num_elements();
                size_of::<f32>() * (n_words + nested_absmax.shape().num_elements() + 1)
            }
        }
    }
}

impl<B: Backend> DoubleScales<B> {
    fn dequantize(&self) -> Tensor<B, 1> {
        let nested = self.nested_absmax.val();
        let [n_nested] = nested.dims();
        let codes = unsigned(&self.words, NESTED_BLOCK_SIZE, n_nested * NESTED_BLOCK_SIZE);
        let map = TensorData::new(DYNAMIC_MAP.to_vec(), [DYNAMIC_MAP.len()]);
        let steps = Tensor::<B, 1>::from_data(map, &nested.device()).select(0, codes);
        let scaled: Tensor<B, 2> =
            steps.reshape([n_nested, NESTED_BLOCK_SIZE]) * nested.reshape([n_nested, 1]);
        scaled.reshape([n_nested * NESTED_BLOCK_SIZE]) + self.offset
    }
}

/// Both levels of each byte, `[256, 2]`: one look-up serves two weights.
fn level_pairs<B: Backend>(device: &B::Device) -> Tensor<B, 2> {
    let pair = |byte: usize| [LEVELS[byte >> 4], LEVELS[byte & 15]];
    Tensor::from_data(TensorData::new((0..256).flat_map(pair).collect(), [256, 2]), device)
}

impl<B: Backend> StoredBytes for Nf4Linear<B> {
    fn num_bytes(&self) -> usize {
        size_of::<i32>() * self.words.shape().num_elements()
            + self.scales.num_bytes()
            + bias_bytes(self.bias.as_ref())
    }
}

impl<B: Backend> Projection<B> for Nf4Linear<B> {
    fn forward(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        let product = kernels::taped_nf4_product(self, &input);
        let product = product.unwrap_or_else(|| self.product(input));
        add_bias(product, self.bias.as_ref())
    }
}
