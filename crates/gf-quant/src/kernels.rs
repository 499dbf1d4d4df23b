//! Layers on a processor, on a GPU and on a tape for gradients; the portable forms beside
//! them are the oracles.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub mod cube;
pub mod int8;
pub mod tape;

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::Flex;

use crate::Nf4Linear;

/// Which product with a weight `W`, `[d_output, d_input]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// `x · Wᵀ`, `[batch_size, seq_length, d_input] → [batch_size, seq_length, d_output]`.
    Forward,
    /// `x · W`, `[batch_size, seq_length, d_output] → [batch_size, seq_length, d_input]`.
    Transposed,
}

/// A product on the GPUs this build knows; `None` on every other backend.
pub(crate) fn nf4_product<B: Backend>(
    layer: &Nf4Linear<B>,
    input: &Tensor<B, 3>,
    side: Side,
) -> Option<Tensor<B, 3>> {
    #[cfg(feature = "wgpu")]
    if let Some(output) = cube::product::<B, cubecl::wgpu::WgpuRuntime>(layer, input, side) {
        return Some(output);
    }
    #[cfg(feature = "cuda")]
    if let Some(output) = cube::product::<B, cubecl::cuda::CudaRuntime>(layer, input, side) {
        return Some(output);
    }
    let _ = (layer, input, side);
    None
}

/// `input · Wᵀ` on a tape over the backends this build knows; `None` on every other.
pub(crate) fn taped_nf4_product<B: Backend>(
    layer: &Nf4Linear<B>,
    input: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    #[cfg(feature = "wgpu")]
    if let Some(output) = tape::product::<B, cube::Wgpu>(layer, input) {
        return Some(output);
    }
    #[cfg(feature = "cuda")]
    if let Some(output) = tape::product::<B, cube::Cuda>(layer, input) {
        return Some(output);
    }
    tape::product::<B, Flex>(layer, input)
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn_flex::FlexDevice;

    use super::*;
    use crate::nf4::Nf4;

    fn is_taped<B: Backend<Device = FlexDevice>>() -> bool {
        let nf4 = Nf4::quantize_double(&[0.5; 6]);
        let layer = Nf4Linear::<B>::new(&nf4, [3, 2], None, &FlexDevice);
        taped_nf4_product(&layer, &Tensor::ones([1, 1, 2], &FlexDevice)).is_some()
    }

    /// Elsewhere the portable form gives the same numbers, and keeps the weight.
    #[test]
    fn the_tape_is_found() {
        assert!(is_taped::<Autodiff<Flex>>());
        assert!(!is_taped::<Flex>());
    }
}
