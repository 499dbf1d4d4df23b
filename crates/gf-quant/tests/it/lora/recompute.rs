//! Layers computed twice instead of kept.

use burn::{
    optim::GradientsParams,
    tensor::{Distribution, Tensor, backend::Backend},
};
use burn_flex::{Flex, FlexDevice};
use gf_model::{Encoder, EncoderConfig, EncoderInput, Preset};
use gf_quant::{
    lora::{LoraAdapter, LoraConfig, LowRank, Target, attach, detach, with_adapters},
    quantize_nf4,
    recompute::{Recomputed, loss_and_gradients},
};

use super::{
    Ad, ENCODER_ONLY, LOSS, adapted_masked_lm, assert_gradients, expected, host, input,
    masked_lm_loss, tiny,
};
use crate::fixture::assert_close;

/// Layer by layer, the same loss and gradients as PEFT's plain graph.
#[test]
fn recomputed_layers() {
    let Some(path) = tiny() else { return };
    for case in ENCODER_ONLY {
        let file = expected(case);
        let (model, config) = adapted_masked_lm(case, &path);
        let input = input::<Ad>(&file, "masked_input_ids", &FlexDevice);
        let found = loss_and_gradients(&model.encoder, &input, 1, |hidden| {
            masked_lm_loss(&model, hidden, &file)
        });
        assert_close(case, &host(found.loss), &file.values::<f32>("loss"), LOSS);
        let adapter = detach(&mut model.encoder.clone(), config);
        assert_eq!(found.encoder.len(), 2 * adapter.pairs.len(), "{case}: only adapters");
        assert_gradients(case, &adapter, &found.encoder, &file);
    }
}

/// With dropout: the graph of each layer computed twice must drop the same, so that a
/// finite difference along the gradient agrees with it.
#[test]
fn recomputed_layers_with_dropout() {
    let config = EncoderConfig {
        vocab_size: 30,
        num_hidden_layers: 2,
        hidden_dropout_prob: 0.2,
        attention_probs_dropout_prob: 0.2,
        ..EncoderConfig::preset(Preset::V1_10M)
    };
    Ad::seed(&FlexDevice, 5);
    let encoder = quantize_nf4(config.init_encoder::<Ad>(&FlexDevice).unwrap());
    let mut encoder = with_adapters(encoder);
    let targets = Target::ALL.into();
    let lora = LoraConfig { r: 2, alpha: 4.0, dropout: 0.2, rslora: false, targets };
    let mut adapter = LoraAdapter::init(lora.clone(), &config, &FlexDevice).unwrap();
    for pair in adapter.pairs.values_mut() {
        let b = Tensor::random(pair.b.dims(), Distribution::Default, &FlexDevice);
        *pair = LowRank::new(pair.a.val(), b * 0.1, &lora);
    }
    attach(&mut encoder, &adapter);
    let input = EncoderInput::<Ad>::from_rows(&[&[2, 11, 25, 7, 3], &[2, 29, 3]], 0, &FlexDevice);
    let run = |encoder: &Encoder<Ad, _>| {
        loss_and_gradients(encoder, &input, 9, |hidden: Tensor<Ad, 3>| {
            hidden.narrow(2, 0, 7).powi_scalar(2).mean()
        })
    };
    let Numbers { loss, gradients } = run(&encoder).into();
    let key = (0, Target::Value);
    let pair = &adapter.pairs[&key];
    let gradient = gradients.get::<Flex, 2>(pair.b.id).unwrap();
    let squared: f32 = host(gradient.clone().powi_scalar(2).sum())[0];
    // A step that changes the loss by about one thousandth.
    let step = f64::from(1e-3 * loss / squared);
    let moved = |sign: f64| {
        let b = pair.b.val().detach() + Tensor::from_inner(gradient.clone()) * (sign * step);
        let mut adapter = adapter.clone();
        adapter.pairs.insert(key, LowRank::new(pair.a.val(), b, &lora));
        let mut encoder = encoder.clone();
        attach(&mut encoder, &adapter);
        let Numbers { loss, .. } = run(&encoder).into();
        f64::from(loss)
    };
    let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
    let relative = (slope / f64::from(squared) - 1.0).abs();
    assert!(relative < FINITE_DIFFERENCE, "slope {slope}, gradient says {squared}");
}

/// Curvature and f32 rounding of a central difference.
const FINITE_DIFFERENCE: f64 = 0.02;

/// Loss as a number.
struct Numbers {
    loss: f32,
    gradients: GradientsParams,
}

impl From<Recomputed<Ad>> for Numbers {
    fn from(found: Recomputed<Ad>) -> Self {
        Self { loss: host(found.loss)[0], gradients: found.encoder }
    }
}
