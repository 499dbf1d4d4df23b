//! Task heads above an adapted encoder.

use std::path::Path;

use burn::{
    module::{Module, Param},
    nn::Linear,
    optim::{GradientsParams, Optimizer},
    tensor::{Tensor, TensorData, activation::tanh, backend::Backend},
};
use burn_flex::{Flex, FlexDevice};
use gf_model::{CellClassifier, CellHead, Encoder, EncoderConfig, EncoderInput, MaskedLm, Preset};
use gf_quant::{
    lora::{LoraAdapter, LoraConfig, LoraLinear, attach, detach, peft, with_adapters},
    quantize_nf4,
};

use super::{
    AFTER_STEPS, AFTER_STEPS_SEQ, Ad, GRADIENT, LEARNING_RATE, LOSS, SEQ_CLS, TOKEN_CLS, adamw,
    adapted_masked_lm, assert_after_steps, assert_gradients, cross_entropy, expected, folder, host,
    input, ints, tiny,
};
use crate::fixture::{Golden, assert_close};

/// Task heads: `seq_cls` reads CLS through a pooler that is not trained here, as PEFT
/// leaves it; `token_cls` every token. The head trains and is saved with the adapter.
#[test]
fn loss_gradients_and_five_steps_of_task_heads() {
    let Some(path) = tiny() else { return };
    for (case, tolerance) in [(SEQ_CLS, AFTER_STEPS_SEQ), (TOKEN_CLS, AFTER_STEPS)] {
        let file = expected(case);
        let (mut model, config) = Task::new(case, &path, &file);
        let input = input::<Ad>(&file, "masked_input_ids", &FlexDevice);
        let mut optimizer = adamw().init::<Ad, Task>();
        for step in 0..5 {
            let hidden = model.encoder.hidden_state(&input, model.encoder.n_layers());
            let loss = cross_entropy(model.logits(hidden), &ints(&file, "labels"));
            let value = host(loss.clone());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            if step == 0 {
                assert_close(case, &value, &file.values::<f32>("loss"), LOSS);
                let adapter = detach(&mut model.encoder.clone(), config.clone());
                assert_eq!(gradients.len(), 2 * adapter.pairs.len() + 2, "{case}");
                assert_gradients(case, &adapter, &gradients, &file);
                let weight = gradients.get::<Flex, 2>(model.classifier.weight.id).unwrap();
                let expected = file.values::<f32>("grad.classifier.modules_to_save.weight");
                assert_close(case, &host(weight.transpose()), &expected, GRADIENT);
            }
            model = optimizer.step(LEARNING_RATE, model, gradients);
        }
        let expected = file.values::<f32>("after5steps.classifier.modules_to_save.weight");
        assert_close(case, &host(model.classifier.weight.val().transpose()), &expected, tolerance);
        assert_after_steps(case, &detach(&mut model.encoder, config), &file, tolerance);
    }
}

/// What gf-model's heads do, with the head that an adapter folder holds.
#[derive(Module, Debug)]
struct Task<B: Backend = Ad> {
    encoder: Encoder<B, LoraLinear<B, Linear<B>>>,
    pooler: Option<Linear<B>>,
    classifier: Linear<B>,
}

impl Task {
    fn new(case: &str, path: &Path, file: &Golden) -> (Self, LoraConfig) {
        let (MaskedLm { encoder, .. }, config) = adapted_masked_lm(case, path);
        let (_, extras) = peft::read::<Ad>(&folder(case), &FlexDevice).unwrap();
        assert_eq!(extras.base_model.as_deref(), Some("tiny_v2"));
        let saved = |name: &str| extras.saved_modules[name].clone();
        let classifier = linear(saved("classifier.weight"), saved("classifier.bias"));
        let extra = |name: &str| {
            let name = format!("base_extra.bert.pooler.dense.{name}");
            (file.shape(&name), file.values(&name))
        };
        let pooler = (case == SEQ_CLS).then(|| linear(extra("weight"), extra("bias")).no_grad());
        (Self { encoder, pooler, classifier }, config)
    }

    /// `[n, n_classes]`, one row a cell with a pooler, one a token without.
    fn logits(&self, hidden: Tensor<Ad, 3>) -> Tensor<Ad, 2> {
        let rows = match &self.pooler {
            None => hidden.flatten(0, 1),
            Some(pooler) => tanh(pooler.forward(hidden.narrow(1, 0, 1).squeeze_dim::<2>(1))),
        };
        self.classifier.forward(rows)
    }
}

type Stored = (Vec<usize>, Vec<f32>);

fn linear((shape, weight): Stored, (_, bias): Stored) -> Linear<Ad> {
    let n = bias.len();
    let weight =
        Tensor::<Ad, 2>::from_data(TensorData::new(weight, shape), &FlexDevice).transpose();
    let bias = Tensor::from_data(TensorData::new(bias, [n]), &FlexDevice);
    Linear { weight: Param::from_tensor(weight.detach()), bias: Some(Param::from_tensor(bias)) }
}

/// QLoRA of a cell classifier: adapters, pooler and classifier learn, nothing else does.
/// (The reference's head stays frozen by accident.)
#[test]
fn pooler_and_classifier_learn() {
    let config = EncoderConfig {
        vocab_size: 30,
        num_hidden_layers: 1,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..EncoderConfig::preset(Preset::V1_10M)
    };
    Ad::seed(&FlexDevice, 6);
    let mut encoder = with_adapters(quantize_nf4(config.init_encoder::<Ad>(&FlexDevice).unwrap()));
    let lora = LoraConfig { dropout: 0.0, ..LoraConfig::cell_task() };
    attach(&mut encoder, &LoraAdapter::init(lora, &config, &FlexDevice).unwrap());
    let mut model = CellClassifier { encoder, head: CellHead::init(&config, 2, &FlexDevice) };
    let input = EncoderInput::<Ad>::from_rows(&[&[2, 11, 25, 3], &[2, 29, 3]], 0, &FlexDevice);
    let mut optimizer = adamw().init::<Ad, CellClassifier<Ad, _>>();
    let mut losses = Vec::new();
    for _ in 0..30 {
        let loss = cross_entropy(model.forward(&input), &[0, 1]);
        losses.push(host(loss.clone())[0]);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        // A and B of query and value; weight and bias of pooler and classifier.
        assert_eq!(gradients.len(), 2 * 2 + 2 * 2);
        let pooler = gradients.get::<Flex, 2>(model.head.pooler.weight.id).unwrap();
        assert!(host(pooler).iter().any(|x| *x != 0.0));
        model = optimizer.step(LEARNING_RATE, model, gradients);
    }
    assert!(losses[0] > 0.5 && losses[29] < 0.05, "{losses:?}");
}
