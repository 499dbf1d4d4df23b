//! Layers on a processor and on a GPU; the portable forms beside them are the oracles.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub mod cube;
pub mod int8;

use burn::tensor::{Tensor, backend::Backend};

use crate::Nf4Linear;

/// `input · Wᵀ`, `[batch_size, seq_length, d_input] → [batch_size, seq_length, d_output]`,
/// on the GPUs this build knows; `None` on every other backend.
pub(crate) fn nf4_product<B: Backend>(
    layer: &Nf4Linear<B>,
    input: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    #[cfg(feature = "wgpu")]
    if let Some(output) = cube::product::<B, cubecl::wgpu::WgpuRuntime>(layer, input) {
        return Some(output);
    }
    #[cfg(feature = "cuda")]
    if let Some(output) = cube::product::<B, cubecl::cuda::CudaRuntime>(layer, input) {
        return Some(output);
    }
    let _ = (layer, input);
    None
}
