//! Adapters of a whole encoder.

use std::collections::BTreeMap;

use burn::{module::Module, tensor::backend::Backend};
use gf_model::{Encoder, EncoderConfig, Projection, layer::Layer};

use super::{LoraConfig, LoraLinear, LowRank, Target};
use crate::Error;

/// The trained part of an encoder, apart from its base: as many as one likes wait in
/// memory or on disk ([`peft`](super::peft)) while one is attached.
#[derive(Debug, Clone)]
pub struct LoraAdapter<B: Backend> {
    /// Its hyper-parameters.
    pub config: LoraConfig,
    /// The matrices by layer and projection.
    pub pairs: BTreeMap<(usize, Target), LowRank<B>>,
}

impl<B: Backend> LoraAdapter<B> {
    /// A new adapter, which changes nothing before it is trained.
    ///
    /// # Errors
    ///
    /// See [`LoraConfig::check`].
    pub fn init(
        config: LoraConfig,
        encoder: &EncoderConfig,
        device: &B::Device,
    ) -> Result<Self, Error> {
        config.check()?;
        let place = |k| config.targets.iter().map(move |&target| (k, target));
        let pair = |(k, target)| {
            let [d_output, d_input] = shape(encoder, target);
            ((k, target), LowRank::init(&config, d_input, d_output, device))
        };
        let pairs = (0..encoder.num_hidden_layers).flat_map(place).map(pair).collect();
        Ok(Self { config, pairs })
    }

    /// Refuses an adapter that was made for an encoder of another shape.
    ///
    /// # Errors
    ///
    /// [`Error::Misfit`] with the first place that does not fit.
    pub fn check(&self, encoder: &EncoderConfig) -> Result<(), Error> {
        let n_layers = encoder.num_hidden_layers;
        for (&(k, target), pair) in &self.pairs {
            let [d_output, d_input] = shape(encoder, target);
            let (a, b) = (pair.a.dims(), pair.b.dims());
            let r = self.config.r;
            if k >= n_layers || a != [r, d_input] || b != [d_output, r] {
                return Err(Error::Misfit {
                    place: format!("{target} of layer {k}"),
                    found: format!("{a:?} and {b:?}"),
                    expected: format!(
                        "{:?} and {:?} in {n_layers} layers",
                        [r, d_input],
                        [d_output, r]
                    ),
                });
            }
        }
        Ok(())
    }
}

/// `[d_output, d_input]` of a projection.
fn shape(encoder: &EncoderConfig, target: Target) -> [usize; 2] {
    let (d_model, d_ff) = (encoder.hidden_size, encoder.intermediate_size);
    match target {
        Target::Intermediate => [d_ff, d_model],
        Target::Output => [d_model, d_ff],
        _ => [d_model, d_model],
    }
}

/// The encoder with a place for an adapter at every projection; nothing in it is trained.
pub fn with_adapters<B: Backend, P: Projection<B>>(
    encoder: Encoder<B, P>,
) -> Encoder<B, LoraLinear<B, P>> {
    encoder.no_grad().map_projections(|base| LoraLinear { base, adapter: None })
}

/// Puts a copy of `adapter` in place of the one that is attached; one that passed
/// [`LoraAdapter::check`].
pub fn attach<B: Backend, P>(encoder: &mut Encoder<B, LoraLinear<B, P>>, adapter: &LoraAdapter<B>) {
    for (k, layer) in encoder.layers.iter_mut().enumerate() {
        for (target, projection) in Target::ALL.into_iter().zip(projections(layer)) {
            projection.adapter = adapter.pairs.get(&(k, target)).cloned();
        }
    }
}

/// Takes out what is attached, with what it has learned since.
pub fn detach<B: Backend, P>(
    encoder: &mut Encoder<B, LoraLinear<B, P>>,
    config: LoraConfig,
) -> LoraAdapter<B> {
    let mut pairs = BTreeMap::new();
    for (k, layer) in encoder.layers.iter_mut().enumerate() {
        for (target, projection) in Target::ALL.into_iter().zip(projections(layer)) {
            pairs.extend(projection.adapter.take().map(|pair| ((k, target), pair)));
        }
    }
    LoraAdapter { config, pairs }
}

/// In the order of [`Target::ALL`].
fn projections<B: Backend, P>(layer: &mut Layer<B, P>) -> [&mut P; 6] {
    let (attention, feed_forward) = (&mut layer.attention, &mut layer.feed_forward);
    [
        &mut attention.query,
        &mut attention.key,
        &mut attention.value,
        &mut attention.output,
        &mut feed_forward.intermediate,
        &mut feed_forward.output,
    ]
}
