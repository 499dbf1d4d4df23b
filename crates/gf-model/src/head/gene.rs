//! The head that classifies the genes of a cell.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Linear},
    tensor::{Tensor, backend::Backend},
};

use crate::{Encoder, EncoderConfig, EncoderInput, Projection, projection::init_linear};

/// `classifier(dropout(x))` of every token `x`; there is no pooler
/// (transformers 4.46.3, `models/bert/modeling_bert.py`).
#[derive(Module, Debug)]
pub struct GeneHead<B: Backend> {
    /// Projection `d_model → n_classes`.
    pub classifier: Linear<B>,
    dropout: Dropout,
}

impl<B: Backend> GeneHead<B> {
    /// Random weights: a pretrained checkpoint holds no classifier.
    pub fn init(config: &EncoderConfig, n_classes: usize, device: &B::Device) -> Self {
        let (d_model, std) = (config.hidden_size, config.initializer_range);
        Self {
            classifier: init_linear(d_model, n_classes, std, device),
            dropout: DropoutConfig::new(config.head_dropout()).init(),
        }
    }

    /// # Shapes
    ///
    /// - hidden `[batch_size, seq_length, d_model]`, the last hidden state
    /// - output `[batch_size, seq_length, n_classes]`, logits
    pub fn forward(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        self.classifier.forward(self.dropout.forward(hidden))
    }
}

/// An encoder with a head over genes (`BertForTokenClassification`).
#[derive(Module, Debug)]
pub struct GeneClassifier<B: Backend, P = Linear<B>> {
    /// The encoder.
    pub encoder: Encoder<B, P>,
    /// The head.
    pub head: GeneHead<B>,
}

impl<B: Backend, P: Projection<B>> GeneClassifier<B, P> {
    /// # Shapes
    ///
    /// - output `[batch_size, seq_length, n_classes]`, logits; padding is undefined
    pub fn forward(&self, input: &EncoderInput<B>) -> Tensor<B, 3> {
        self.head.forward(self.encoder.hidden_state(input, self.encoder.n_layers()))
    }
}
