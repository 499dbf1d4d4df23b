//! Whole encoders.

use burn::{nn::Linear, tensor::backend::Backend};
use gf_model::{Encoder, layer::Layer};

use crate::{Int8Linear, Nf4Linear, StoredBytes, int8::Activations};

/// The encoder with every projection in [`Int8Linear`] form; each dense projection
/// is dropped as soon as it is converted.
pub fn quantize_int8<B: Backend>(
    encoder: Encoder<B, Linear<B>>,
    activations: Activations,
) -> Encoder<B, Int8Linear<B>> {
    encoder.map_projections(|linear| Int8Linear::from_linear(&linear, activations))
}

/// The encoder with every projection in [`Nf4Linear`] form, scales quantised too; each
/// dense projection is dropped as soon as it is converted.
pub fn quantize_nf4<B: Backend>(encoder: Encoder<B, Linear<B>>) -> Encoder<B, Nf4Linear<B>> {
    encoder.map_projections(|linear| Nf4Linear::from_linear(&linear))
}

/// Bytes of all projections of an encoder: weights, scales and biases.
pub fn projection_bytes<B: Backend, P: StoredBytes>(encoder: &Encoder<B, P>) -> usize {
    let layer = |layer: &Layer<B, P>| -> usize {
        let (attention, feed_forward) = (&layer.attention, &layer.feed_forward);
        let projections = [
            &attention.query,
            &attention.key,
            &attention.value,
            &attention.output,
            &feed_forward.intermediate,
            &feed_forward.output,
        ];
        projections.into_iter().map(StoredBytes::num_bytes).sum()
    };
    encoder.layers.iter().map(layer).sum()
}
