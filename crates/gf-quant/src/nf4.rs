//! 4-bit NormalFloat, on slices.
//!
//! The format of QLoRA (Dettmers et al. 2023, §3; bitsandbytes `quantize_4bit`): blocks
//! of 64 values of the flattened row-major tensor are divided by their absolute maximum
//! and rounded to one of 16 levels, the quantiles of a normal distribution. Blocks may
//! straddle rows; the last may be short.

use crate::double::DoubleQuantized;

/// Values that share one absolute maximum.
pub const BLOCK_SIZE: usize = 64;

/// The code book, ascending; code 7 is zero.
pub const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Largest rounding error of a value in units of its block's absolute maximum: half
/// the widest gap between neighbouring levels.
pub const MAX_ERROR: f32 = (LEVELS[1] - LEVELS[0]) / 2.0;

/// The absolute maximum of every block, in full or quantised once more.
#[derive(Debug, Clone, PartialEq)]
pub enum Absmax {
    /// One f32 a block: 4.5 bits a weight.
    Single(Vec<f32>),
    /// One byte a block: 4.127 bits a weight.
    Double(DoubleQuantized),
}

impl Absmax {
    /// One f32 a block.
    pub fn dequantize(&self) -> Vec<f32> {
        match self {
            Self::Single(absmax) => absmax.clone(),
            Self::Double(quantized) => quantized.dequantize(),
        }
    }

    fn num_bytes(&self) -> usize {
        match self {
            Self::Single(absmax) => size_of_val(absmax.as_slice()),
            Self::Double(quantized) => quantized.num_bytes(),
        }
    }
}

/// A tensor in 4-bit NormalFloat.
#[derive(Debug, Clone, PartialEq)]
pub struct Nf4 {
    /// Two codes a byte, the first in the high half; `[ceil(n_values / 2)]`.
    pub packed: Vec<u8>,
    /// Scale of each block of [`BLOCK_SIZE`] values.
    pub absmax: Absmax,
    /// Values that the codes stand for; an odd one leaves half a byte unused.
    pub n_values: usize,
}

impl Nf4 {
    /// Quantises the values, one f32 scale a block.
    ///
    /// A value half-way between two levels goes to the lower one; a block of zeros has
    /// scale 0 and codes 7.
    ///
    /// ```
    /// use gf_quant::nf4::Nf4;
    /// let nf4 = Nf4::quantize(&[2.0, -2.0, 0.0]);
    /// assert_eq!(nf4.packed, [0xf0, 0x70]);
    /// assert_eq!(nf4.dequantize(), [2.0, -2.0, 0.0]);
    /// ```
    pub fn quantize(values: &[f32]) -> Self {
        let mut codes = Vec::with_capacity(values.len());
        let mut absmax = Vec::with_capacity(values.len().div_ceil(BLOCK_SIZE));
        for block in values.chunks(BLOCK_SIZE) {
            let largest = block.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            codes.extend(block.iter().map(|&x| code(scaled(x, largest))));
            absmax.push(largest);
        }
        let byte = |pair: &[u8]| pair[0] << 4 | pair.get(1).copied().unwrap_or(0);
        let packed = codes.chunks(2).map(byte).collect();
        Self { packed, absmax: Absmax::Single(absmax), n_values: values.len() }
    }

    /// Quantises the values, and the scales of their blocks to one byte each.
    pub fn quantize_double(values: &[f32]) -> Self {
        let single = Self::quantize(values);
        let absmax = DoubleQuantized::quantize(&single.absmax.dequantize());
        Self { absmax: Absmax::Double(absmax), ..single }
    }

    /// The values that the codes stand for: level × scale of the block.
    pub fn dequantize(&self) -> Vec<f32> {
        let absmax = self.absmax.dequantize();
        let level = |(i, code): (usize, u8)| LEVELS[usize::from(code)] * absmax[i / BLOCK_SIZE];
        self.codes().enumerate().map(level).collect()
    }

    /// One code 0…15 for each value, in order.
    pub fn codes(&self) -> impl Iterator<Item = u8> + '_ {
        self.packed.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(self.n_values)
    }

    /// Bytes of codes and scales.
    pub fn num_bytes(&self) -> usize {
        self.packed.len() + self.absmax.num_bytes()
    }
}

/// bitsandbytes multiplies by the reciprocal, which overflows for subnormal scales.
fn scaled(x: f32, absmax: f32) -> f32 {
    let reciprocal = absmax.recip();
    match (absmax > 0.0, reciprocal.is_finite()) {
        (false, _) => 0.0,
        (true, true) => x * reciprocal,
        (true, false) => x / absmax,
    }
}

/// The nearest level: as many of the midpoints between levels as lie below.
fn code(x: f32) -> u8 {
    let below = |pair: &&[f32]| x > (pair[0] + pair[1]) / 2.0;
    LEVELS.windows(2).filter(below).count() as u8
}
