//! The NF4 product on a GPU: each cube unpacks a tile of codes and scales into shared
//! memory and multiplies, so that no weight lies in the device's memory in floating point.
//!
//! The tiling is the textbook's: a cube owns 64 × 64 outputs, a unit 8 × 8 of them in
//! registers.

use burn::tensor::{DType, Int, Shape, Tensor, TensorPrimitive, backend::Backend};
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::*;
use gf_model::kernels::downcast;

use crate::{
    double::{DYNAMIC_MAP, NESTED_BLOCK_SIZE},
    kernels::Side,
    linear::nf4::{BLOCK_BYTES, BlockScales, Nf4Linear},
    nf4::{BLOCK_SIZE, LEVELS},
    words::BYTES_PER_WORD,
};

/// Burn's default backends of either runtime.
#[cfg(feature = "wgpu")]
pub type Wgpu = burn_cubecl::CubeBackend<cubecl::wgpu::WgpuRuntime, f32, i32, u32>;
/// As [`Wgpu`].
#[cfg(feature = "cuda")]
pub type Cuda = burn_cubecl::CubeBackend<cubecl::cuda::CudaRuntime, f32, i32, u8>;

/// Tokens, and output channels, of a cube.
const TILE: usize = 64;
/// Input channels that are in shared memory at a time.
const DEPTH: usize = 16;
/// Units along either side of a cube; each has every 8th token and channel of the tile.
const SIDE: usize = 8;
const N_UNITS: usize = SIDE * SIDE;
/// Outputs of a unit along either side.
const PER_UNIT: usize = TILE / SIDE;
/// Numbers of a tile that a unit brings to shared memory.
const LOADS: usize = TILE * DEPTH / N_UNITS;
/// One more than a tile, so that neighbouring units write to different banks.
const PITCH: usize = TILE + 1;
const N_LEVELS: usize = LEVELS.len();

/// Scales of blocks: numbers, or bytes that stand for numbers.
#[derive(CubeType, CubeLaunch)]
struct Scales {
    /// Of the blocks, or of blocks of their scales.
    absmax: Array<f32>,
    double: ComptimeOption<DoubleWords>,
}

#[derive(CubeType, CubeLaunch)]
struct DoubleWords {
    words: Array<u32>,
    offset: f32,
}

/// Byte `position` of words packed in blocks ([`words`](crate::words)).
#[cube]
fn byte(words: &Array<u32>, position: usize, #[comptime] block_size: usize) -> u32 {
    let n_words = comptime!(block_size / BYTES_PER_WORD);
    let (block, place) = (position / block_size, position % block_size);
    let word = words[block * n_words + place % n_words];
    (word >> (8 * (place / n_words) as u32)) & 0xff
}

/// The number that stands at `position` of the flattened weights; `tables` are the levels
/// and the dynamic map.
#[cube]
fn weight(words: &Array<u32>, scales: &Scales, tables: &Array<f32>, position: usize) -> f32 {
    let pair = byte(words, position / 2, BLOCK_BYTES);
    let code = (pair >> (4 - 4 * (position % 2) as u32)) & 0xf;
    tables[code as usize] * scale(scales, tables, position / BLOCK_SIZE)
}

#[cube]
fn scale(scales: &Scales, tables: &Array<f32>, block: usize) -> f32 {
    #[comptime]
    match &scales.double {
        ComptimeOption::None => scales.absmax[block],
        ComptimeOption::Some(double) => {
            let step = byte(&double.words, block, NESTED_BLOCK_SIZE) as usize;
            tables[N_LEVELS + step] * scales.absmax[block / NESTED_BLOCK_SIZE] + double.offset
        }
    }
}

/// `output = input · Wᵀ`, all row-major: `[n_tokens, d_input]`, `[d_output, d_input]`,
/// `[n_tokens, d_output]`; `W` of [`Side::Transposed`] is stored as `[d_input, d_output]`.
#[cube(launch)]
#[allow(clippy::too_many_arguments, reason = "a kernel's bindings")]
fn multiply(
    input: &Array<f32>,
    words: &Array<u32>,
    scales: &Scales,
    tables: &Array<f32>,
    output: &mut Array<f32>,
    n_tokens: usize,
    d_input: usize,
    d_output: usize,
    #[comptime] side: Side,
) {
    let first_token = CUBE_POS_Y as usize * TILE;
    let first_channel = CUBE_POS_X as usize * TILE;
    let mut inputs = SharedMemory::<f32>::new(DEPTH * PITCH);
    let mut weights = SharedMemory::<f32>::new(DEPTH * PITCH);
    let mut sums = Array::<f32>::new(PER_UNIT * PER_UNIT);
    #[unroll]
    for i in 0..PER_UNIT * PER_UNIT {
        sums[i] = 0.0;
    }
    for step in 0..d_input.div_ceil(DEPTH) {
        #[unroll]
        for i in 0..LOADS {
            let place = UNIT_POS as usize + i * N_UNITS;
            let (row, depth) = (place / DEPTH, place % DEPTH);
            let (token, column) = (first_token + row, step * DEPTH + depth);
            let mut x = 0.0;
            if column < d_input && token < n_tokens {
                x = input[token * d_input + column];
            }
            inputs[depth * PITCH + row] = x;
            // Neighbouring units read neighbouring codes.
            let (row, depth) = match side {
                Side::Forward => (row, depth),
                Side::Transposed => (place % TILE, place / TILE),
            };
            let (channel, column) = (first_channel + row, step * DEPTH + depth);
            let mut w = 0.0;
            if column < d_input && channel < d_output {
                let position = match side {
                    Side::Forward => channel * d_input + column,
                    Side::Transposed => column * d_output + channel,
                };
                w = weight(words, scales, tables, position);
            }
            weights[depth * PITCH + row] = w;
        }
        sync_cube();
        for depth in 0..DEPTH {
            add_products(&inputs, &weights, &mut sums, depth * PITCH);
        }
        sync_cube();
    }
    #[unroll]
    for i in 0..PER_UNIT * PER_UNIT {
        let token = first_token + UNIT_POS_Y as usize + (i / PER_UNIT) * SIDE;
        let channel = first_channel + UNIT_POS_X as usize + (i % PER_UNIT) * SIDE;
        if token < n_tokens && channel < d_output {
            output[token * d_output + channel] = sums[i];
        }
    }
}

/// One input channel's share of a unit's outputs.
#[cube]
fn add_products(
    inputs: &SharedMemory<f32>,
    weights: &SharedMemory<f32>,
    sums: &mut Array<f32>,
    first: usize,
) {
    let mut channels = Array::<f32>::new(PER_UNIT);
    #[unroll]
    for j in 0..PER_UNIT {
        channels[j] = weights[first + UNIT_POS_X as usize + j * SIDE];
    }
    #[unroll]
    for i in 0..PER_UNIT {
        let x = inputs[first + UNIT_POS_Y as usize + i * SIDE];
        #[unroll]
        for j in 0..PER_UNIT {
            sums[i * PER_UNIT + j] += x * channels[j];
        }
    }
}

/// The product where the backend's tensors are those of this runtime and f32; positions
/// within them must fit 32 bits.
pub fn product<B: Backend, R: CubeRuntime>(
    layer: &Nf4Linear<B>,
    input: &Tensor<B, 3>,
    side: Side,
) -> Option<Tensor<B, 3>> {
    let [batch_size, seq_length, d_input] = input.dims();
    let n_tokens = batch_size * seq_length;
    let d_output = match side {
        Side::Forward => layer.d_output,
        Side::Transposed => layer.d_input,
    };
    let n_positions = d_output.max(d_input) * n_tokens.max(d_output);
    if n_tokens == 0 || u32::try_from(n_positions).is_err() {
        return None;
    }
    let input = float::<B, R, 3>(input).filter(|input| input.dtype == DType::F32)?;
    let words = int::<B, R>(&layer.words.val())?;
    let scales = scales(&layer.scales)?;
    let CubeTensor { client, device, .. } = input.clone();
    let tables: Vec<f32> = LEVELS.into_iter().chain(*DYNAMIC_MAP).collect();
    let tables = client.create_from_slice(f32::as_bytes(&tables));
    let output = client.empty(n_tokens * d_output * size_of::<f32>());
    let shape = Shape::new([batch_size, seq_length, d_output]);
    let output = CubeTensor::<R>::new_contiguous(client.clone(), device, shape, output, DType::F32);
    multiply::launch::<R>(
        &client,
        CubeCount::Static(d_output.div_ceil(TILE) as u32, n_tokens.div_ceil(TILE) as u32, 1),
        CubeDim::new_2d(SIDE as u32, SIDE as u32),
        into_contiguous(input).into_array_arg(),
        words.into_array_arg(),
        scales,
        unsafe { ArrayArg::from_raw_parts(tables, N_LEVELS + DYNAMIC_MAP.len()) },
        output.clone().into_array_arg(),
        n_tokens,
        d_input,
        d_output,
        side,
    );
    Some(Tensor::from_primitive(TensorPrimitive::Float(downcast(output)?)))
}

fn scales<B: Backend, R: CubeRuntime>(scales: &BlockScales<B>) -> Option<ScalesLaunch<R>> {
    let (absmax, double) = match scales {
        BlockScales::Single(absmax) => (absmax, ComptimeOptionArgs::None),
        BlockScales::Double(double) => {
            let words = int::<B, R>(&double.words.val())?.into_array_arg();
            let words = DoubleWordsLaunch::new(words, double.offset);
            (&double.nested_absmax, ComptimeOptionArgs::Some(words))
        }
    };
    let absmax = float::<B, R, 1>(&absmax.val())?.into_array_arg();
    Some(ScalesLaunch::new(absmax, double))
}

fn float<B: Backend, R: CubeRuntime, const D: usize>(
    tensor: &Tensor<B, D>,
) -> Option<CubeTensor<R>> {
    downcast(tensor.clone().into_primitive().tensor())
}

fn int<B: Backend, R: CubeRuntime>(tensor: &Tensor<B, 1, Int>) -> Option<CubeTensor<R>> {
    downcast(tensor.clone().into_primitive())
}
