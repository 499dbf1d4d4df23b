//! The head that answers several questions about a cell at once.

use burn::{
    module::{Module, Param},
    nn::{Dropout, DropoutConfig, Initializer, Linear},
    tensor::{Tensor, activation::softmax, backend::Backend},
};

use crate::{Encoder, EncoderConfig, EncoderInput, Projection};

/// How the hidden states of a cell become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The first token.
    Cls,
    /// A learned average of all tokens.
    Attention,
}

/// Which tokens a learned average is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PooledTokens {
    /// Those of the cell.
    Real,
    /// Those of the cell and its padding, as the reference does: the answer then
    /// depends on the longest cell of the batch.
    RealAndPadding,
}

/// One linear classifier per task over a dropped-out vector of the cell
/// (REFERENCE.md §7.6, `mtl/model.py`); the file's pooler has no part in it.
#[derive(Module, Debug)]
pub struct MultiTaskHead<B: Backend> {
    /// Projections `d_model → n_classes`, one per task.
    pub classification_heads: Vec<Linear<B>>,
    /// Scores of the tokens, `[d_model, 1]`; absent where the first token is read.
    pub attention_pool: Option<Param<Tensor<B, 2>>>,
    dropout: Dropout,
}

impl<B: Backend> MultiTaskHead<B> {
    /// Random weights; `n_classes` has one entry per task.
    pub fn init(
        config: &EncoderConfig,
        n_classes: &[usize],
        pooling: Pooling,
        device: &B::Device,
    ) -> Self {
        let d_model = config.hidden_size;
        let head = |&n_classes: &usize| Linear {
            weight: xavier(d_model, n_classes, device),
            bias: Some(Initializer::Zeros.init([n_classes], device)),
        };
        Self {
            classification_heads: n_classes.iter().map(head).collect(),
            attention_pool: (pooling == Pooling::Attention).then(|| xavier(d_model, 1, device)),
            dropout: DropoutConfig::new(config.head_dropout()).init(),
        }
    }

    /// # Shapes
    ///
    /// - pooled `[batch_size, d_model]`
    /// - output `[batch_size, n_classes]` of each task, logits
    pub fn forward(&self, pooled: Tensor<B, 2>) -> Vec<Tensor<B, 2>> {
        let pooled = self.dropout.forward(pooled);
        self.classification_heads.iter().map(|head| head.forward(pooled.clone())).collect()
    }
}

/// An encoder with a head over several tasks (the reference's
/// `GeneformerMultiTask`).
#[derive(Module, Debug)]
pub struct MultiTaskClassifier<B: Backend, P = Linear<B>> {
    /// The encoder.
    pub encoder: Encoder<B, P>,
    /// The head.
    pub head: MultiTaskHead<B>,
}

impl<B: Backend, P: Projection<B>> MultiTaskClassifier<B, P> {
    /// Logits of each task; `tokens` matters for a learned average only.
    ///
    /// # Shapes
    ///
    /// - output `[batch_size, n_classes]` of each task
    pub fn forward(&self, input: &EncoderInput<B>, tokens: PooledTokens) -> Vec<Tensor<B, 2>> {
        let last = self.encoder.n_layers();
        let pooled = match &self.head.attention_pool {
            None => self.encoder.cls_state(input, last),
            Some(scores) => {
                let hidden = self.encoder.hidden_state(input, last);
                attention_pool(hidden, scores.val(), input, tokens)
            }
        };
        self.head.forward(pooled)
    }
}

/// `Σ softmax(H·w)·H` over the tokens of each row.
fn attention_pool<B: Backend>(
    hidden: Tensor<B, 3>,
    scores: Tensor<B, 2>,
    input: &EncoderInput<B>,
    tokens: PooledTokens,
) -> Tensor<B, 2> {
    let [batch_size, seq_length, _] = hidden.dims();
    let scores = hidden.clone().matmul(scores.unsqueeze());
    let (scores, hidden) = match input.padding_mask() {
        Some(padding) if tokens == PooledTokens::Real => {
            let padding = padding.reshape([batch_size, seq_length, 1]);
            let scores = scores.mask_fill(padding.clone(), f32::MIN);
            // Padded hidden states are undefined: weight zero does not undo a NaN.
            (scores, hidden.clone().mask_fill(padding.expand(hidden.dims()), 0.0))
        }
        _ => (scores, hidden),
    };
    (hidden * softmax(scores, 1)).sum_dim(1).squeeze_dim(1)
}

/// `torch.nn.init.xavier_uniform_`.
fn xavier<B: Backend>(d_input: usize, d_output: usize, device: &B::Device) -> Param<Tensor<B, 2>> {
    Initializer::XavierUniform { gain: 1.0 }.init_with(
        [d_input, d_output],
        Some(d_input),
        Some(d_output),
        device,
    )
}
