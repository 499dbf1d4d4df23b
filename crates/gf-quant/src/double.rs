//! Double quantisation: the scales of 4-bit blocks in eight bits, on slices.
//!
//! QLoRA §3: the mean of all scales is subtracted, blocks of 256 of the rest are divided
//! by their absolute maximum and rounded to the 256 values of bitsandbytes' dynamic map
//! (`create_dynamic_map(signed=True)`), which has more values near zero.

use std::sync::LazyLock;

/// Scales that share one absolute maximum.
pub const NESTED_BLOCK_SIZE: usize = 256;

/// The dynamic map, ascending: 7 decades 10⁻⁶…1 of either sign with 1, 2, … 64 values
/// evenly spread in each, zero, and one.
pub static DYNAMIC_MAP: LazyLock<[f32; 256]> = LazyLock::new(dynamic_map);

static MIDPOINTS: LazyLock<Vec<f32>> =
    LazyLock::new(|| DYNAMIC_MAP.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect());

/// Scales in eight bits.
#[derive(Debug, Clone, PartialEq)]
pub struct DoubleQuantized {
    /// Positions in [`DYNAMIC_MAP`], one a scale.
    pub codes: Vec<u8>,
    /// Absolute maximum of each [`NESTED_BLOCK_SIZE`] scales, less the offset.
    pub nested_absmax: Vec<f32>,
    /// Mean of all scales.
    pub offset: f32,
}

impl DoubleQuantized {
    /// Quantises the scales.
    pub fn quantize(scales: &[f32]) -> Self {
        let sum: f64 = scales.iter().copied().map(f64::from).sum();
        let offset = (sum / scales.len().max(1) as f64) as f32;
        let centred: Vec<f32> = scales.iter().map(|scale| scale - offset).collect();
        let mut codes = Vec::with_capacity(scales.len());
        let mut nested_absmax = Vec::new();
        for block in centred.chunks(NESTED_BLOCK_SIZE) {
            let largest = block.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            let reciprocal = if largest > 0.0 { largest.recip() } else { 0.0 };
            codes.extend(block.iter().map(|x| nearest(x * reciprocal)));
            nested_absmax.push(largest);
        }
        Self { codes, nested_absmax, offset }
    }

    /// The scales that the codes stand for.
    pub fn dequantize(&self) -> Vec<f32> {
        let scale = |(i, &code): (usize, &u8)| {
            DYNAMIC_MAP[usize::from(code)] * self.nested_absmax[i / NESTED_BLOCK_SIZE] + self.offset
        };
        self.codes.iter().enumerate().map(scale).collect()
    }

    /// Bytes of codes, nested scales and offset.
    pub fn num_bytes(&self) -> usize {
        self.codes.len() + size_of::<f32>() * (self.nested_absmax.len() + 1)
    }
}

fn nearest(x: f32) -> u8 {
    MIDPOINTS.partition_point(|&midpoint| midpoint < x) as u8
}

fn dynamic_map() -> [f32; 256] {
    let mut map = [0.0; 256];
    map[255] = 1.0;
    let values = (0..7).flat_map(|decade| {
        let scale = 10.0f64.powi(decade - 6) as f32;
        fractions(1 << decade).flat_map(move |x| [scale * x, -scale * x])
    });
    map.iter_mut().skip(1).zip(values).for_each(|(slot, value)| *slot = value);
    map.sort_unstable_by(f32::total_cmp);
    map
}

/// Middles of `n` equal parts of 0.1…1. PyTorch's `linspace` works from both ends and
/// rounds to f32 once, which decides the last bit.
fn fractions(n: usize) -> impl Iterator<Item = f32> {
    let (first, last) = (0.1f32, 1.0f32);
    let step = f64::from((last - first) / n as f32);
    let edge = move |i: usize| {
        if i < n.div_ceil(2) {
            (f64::from(first) + step * i as f64) as f32
        } else {
            (f64::from(last) - step * (n - i) as f64) as f32
        }
    };
    (0..n).map(move |i| (edge(i) + edge(i + 1)) / 2.0)
}
