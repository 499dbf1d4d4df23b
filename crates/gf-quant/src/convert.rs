//! Whole encoders.

use burn::{nn::Linear, tensor::backend::Backend};
use gf_model::Encoder;

use crate::Int8Linear;

/// The encoder with every projection in [`Int8Linear`] form; each dense projection
/// is dropped as soon as it is converted.
pub fn quantize_int8<B: Backend>(encoder: Encoder<B, Linear<B>>) -> Encoder<B, Int8Linear<B>> {
    encoder.map_projections(|linear| Int8Linear::from_linear(&linear))
}

/// Bytes of all projections of a quantised encoder: codes, scales and biases.
pub fn projection_bytes<B: Backend>(encoder: &Encoder<B, Int8Linear<B>>) -> usize {
    let layer = |layer: &gf_model::layer::Layer<B, Int8Linear<B>>| {
        let (attention, feed_forward) = (&layer.attention, &layer.feed_forward);
        [
            &attention.query,
            &attention.key,
            &attention.value,
            &attention.output,
            &feed_forward.intermediate,
            &feed_forward.output,
        ]
        .map(Int8Linear::num_bytes)
        .iter()
        .sum::<usize>()
    };
    encoder.layers.iter().map(layer).sum()
}
