//! The head that classifies cells.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Linear},
    tensor::{Tensor, activation::tanh, backend::Backend},
};

use crate::{Encoder, EncoderConfig, EncoderInput, Projection, projection::init_linear};

/// `BertPooler` and the classifier above it: `classifier(dropout(tanh(pooler(x₀))))`
/// of the first token `x₀` (transformers 4.46.3, `models/bert/modeling_bert.py`).
///
/// The first token is CLS in V2 cells and the top-ranked gene in V1 cells.
#[derive(Module, Debug)]
pub struct CellHead<B: Backend> {
    /// Projection `d_model → d_model`.
    pub pooler: Linear<B>,
    /// Projection `d_model → n_classes`.
    pub classifier: Linear<B>,
    dropout: Dropout,
}

impl<B: Backend> CellHead<B> {
    /// Random weights: a pretrained checkpoint holds neither pooler nor classifier.
    pub fn init(config: &EncoderConfig, n_classes: usize, device: &B::Device) -> Self {
        let (d_model, std) = (config.hidden_size, config.initializer_range);
        Self {
            pooler: init_linear(d_model, d_model, std, device),
            classifier: init_linear(d_model, n_classes, std, device),
            dropout: DropoutConfig::new(config.head_dropout()).init(),
        }
    }

    /// # Shapes
    ///
    /// - cls `[batch_size, d_model]`, row 0 of the last hidden state
    /// - output `[batch_size, n_classes]`, logits
    pub fn forward(&self, cls: Tensor<B, 2>) -> Tensor<B, 2> {
        self.classifier.forward(self.dropout.forward(tanh(self.pooler.forward(cls))))
    }
}

/// An encoder with a head over cells (`BertForSequenceClassification`).
#[derive(Module, Debug)]
pub struct CellClassifier<B: Backend, P = Linear<B>> {
    /// The encoder.
    pub encoder: Encoder<B, P>,
    /// The head.
    pub head: CellHead<B>,
}

impl<B: Backend, P: Projection<B>> CellClassifier<B, P> {
    /// # Shapes
    ///
    /// - output `[batch_size, n_classes]`, logits
    pub fn forward(&self, input: &EncoderInput<B>) -> Tensor<B, 2> {
        self.head.forward(self.encoder.cls_state(input, self.encoder.n_layers()))
    }
}
