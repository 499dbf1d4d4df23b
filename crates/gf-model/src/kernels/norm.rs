//! Residual and layer normalisation in one pass.

use burn::{
    nn::LayerNorm,
    tensor::{Tensor, backend::Backend},
};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::flex;

/// Numbers that are summed side by side.
const LANES: usize = 16;
/// Rows that one thread takes at a time.
const N_ROWS: usize = 64;

/// `LayerNorm(residual + x)` over the last axis, in the place of `x`, which comes back
/// where it is not in host memory; shapes `[batch_size, seq_length, d_model]`.
pub(crate) fn add_norm<B: Backend>(
    norm: &LayerNorm<B>,
    epsilon: f64,
    residual: &Tensor<B, 3>,
    x: Tensor<B, 3>,
) -> Result<Tensor<B, 3>, Tensor<B, 3>> {
    let [.., d_model] = x.dims();
    let beta = norm.beta.as_ref().and_then(|beta| flex::rows(&beta.val()));
    let others = (flex::rows(residual), flex::rows(&norm.gamma.val()), beta);
    let (Some(residual), Some(gamma), Some(beta)) = others else { return Err(x) };
    let scale =
        Scale { gamma: flex::slice(&gamma), beta: flex::slice(&beta), epsilon: epsilon as f32 };
    flex::update(x, |x| {
        let n = N_ROWS * d_model;
        let blocks = x.par_chunks_mut(n).zip(flex::slice(&residual).par_chunks(n));
        let arch = pulp::Arch::new();
        blocks.for_each(|(x, residual)| arch.dispatch(Rows { scale, x, residual }));
    })
}

/// The rows of one thread; not a closure, which would be compiled without this processor's
/// vectors.
struct Rows<'a> {
    scale: Scale<'a>,
    x: &'a mut [f32],
    residual: &'a [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.scale.rows(self.x, self.residual);
    }
}

#[derive(Clone, Copy)]
struct Scale<'a> {
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
}

impl Scale<'_> {
    #[inline(always)]
    fn rows(self, output: &mut [f32], residual: &[f32]) {
        let d_model = self.gamma.len();
        for (output, residual) in
            output.chunks_exact_mut(d_model).zip(residual.chunks_exact(d_model))
        {
            output.iter_mut().zip(residual).for_each(|(x, r)| *x += r);
            self.normalise(output);
        }
    }

    #[inline(always)]
    fn normalise(self, row: &mut [f32]) {
        let n = row.len() as f32;
        let mean = sum(row, |x| x) / n;
        let variance = sum(row, |x| (x - mean) * (x - mean)) / n;
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        for (x, (gamma, beta)) in row.iter_mut().zip(self.gamma.iter().zip(self.beta)) {
            *x = (*x - mean) * inverse * gamma + beta;
        }
    }
}

#[inline(always)]
fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane += f(x));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane += f(x));
    lanes.into_iter().sum()
}
