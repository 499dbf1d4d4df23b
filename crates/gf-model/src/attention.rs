//! Self-attention with its output projection, residual and normalisation.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, LayerNorm, Linear},
    tensor::{
        Tensor, activation::softmax, backend::Backend, module::attention,
        ops::AttentionModuleOptions,
    },
};

use crate::{
    EncoderConfig, EncoderInput, Projection,
    embeddings::layer_norm,
    kernels::{self, AttentionArithmetic, Joined},
    layer::add_norm,
    projection::init_linear,
};

/// `BertAttention`: multi-head attention scaled by 1/√`d_head`, then
/// `LayerNorm(x + dropout(output(context)))`.
#[derive(Module, Debug)]
pub struct SelfAttention<B: Backend, P> {
    /// Projection of the tokens that ask.
    pub query: P,
    /// Projection of the tokens that are compared.
    pub key: P,
    /// Projection of the tokens that are averaged.
    pub value: P,
    /// Projection of the concatenated heads.
    pub output: P,
    /// Normalisation after the residual.
    pub layer_norm: LayerNorm<B>,
    epsilon: f64,
    n_heads: usize,
    attention_dropout: Dropout,
    hidden_dropout: Dropout,
}

impl<B: Backend> SelfAttention<B, Linear<B>> {
    /// Random weights of a checked configuration.
    pub(crate) fn init(config: &EncoderConfig, device: &B::Device) -> Self {
        let d_model = config.hidden_size;
        let square = || init_linear(d_model, d_model, config.initializer_range, device);
        Self {
            query: square(),
            key: square(),
            value: square(),
            output: square(),
            layer_norm: layer_norm(config, device),
            epsilon: config.layer_norm_eps,
            n_heads: config.num_attention_heads,
            attention_dropout: DropoutConfig::new(config.attention_probs_dropout_prob).init(),
            hidden_dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
        }
    }
}

impl<B: Backend, P: Projection<B>> SelfAttention<B, P> {
    /// Lets every token attend to every token; shapes `[batch_size, seq_length, d_model]`.
    pub fn forward_all(&self, hidden: Tensor<B, 3>, input: &EncoderInput<B>) -> Tensor<B, 3> {
        self.forward_all_in(hidden, input, self.query.attention_arithmetic())
    }

    /// [`forward_all`](Self::forward_all) in an arithmetic that the projections did not choose.
    pub(crate) fn forward_all_in(
        &self,
        hidden: Tensor<B, 3>,
        input: &EncoderInput<B>,
        arithmetic: AttentionArithmetic,
    ) -> Tensor<B, 3> {
        let projected = self.project(hidden.clone());
        self.finish(hidden, self.mix(projected, input, arithmetic))
    }

    /// Lets `queries` attend to every token of `context`, for example the only row that is
    /// read; with the same tensor twice it is [`forward_all`](Self::forward_all).
    ///
    /// # Shapes
    ///
    /// - queries `[batch_size, n_queries, d_model]`, also the residual
    /// - context `[batch_size, seq_length, d_model]`
    /// - input: the tokens of `context`, whose real lengths bound the keys
    /// - output `[batch_size, n_queries, d_model]`
    pub fn forward(
        &self,
        queries: Tensor<B, 3>,
        context: Tensor<B, 3>,
        input: &EncoderInput<B>,
    ) -> Tensor<B, 3> {
        let query = self.query.forward(queries.clone());
        let [key, value] = P::forward_each([&self.key, &self.value], context);
        let arithmetic = self.query.attention_arithmetic();
        self.finish(queries, self.mix([query, key, value], input, arithmetic))
    }

    /// Queries, keys and values of every token.
    fn project(&self, hidden: Tensor<B, 3>) -> [Tensor<B, 3>; 3] {
        P::forward_each([&self.query, &self.key, &self.value], hidden)
    }

    /// The values that each query takes, `[batch_size, n_queries, d_model]`.
    fn mix(
        &self,
        [query, key, value]: [Tensor<B, 3>; 3],
        input: &EncoderInput<B>,
        arithmetic: AttentionArithmetic,
    ) -> Tensor<B, 3> {
        let lengths = input.lengths();
        kernels::attention(&query, &key, &value, self.n_heads, lengths, arithmetic)
            .unwrap_or_else(|| self.attend(query, key, value, input))
    }

    /// The second half of [`forward`](Self::forward): projects what the queries mixed and
    /// adds them. All shapes `[batch_size, n_queries, d_model]`.
    pub(crate) fn finish(&self, queries: Tensor<B, 3>, mixed: Tensor<B, 3>) -> Tensor<B, 3> {
        let output = self.hidden_dropout.forward(self.output.forward(mixed));
        add_norm(&self.layer_norm, self.epsilon, queries, output)
    }

    /// Lays two rows, `[2, seq_length, d_model]`, out for attention where they are joined
    /// at any place; `None` where the kernel does not take them.
    pub(crate) fn join(&self, rows: &Tensor<B, 3>) -> Option<Joined> {
        kernels::flex::view(rows)?;
        let [query, key, value] = self.project(rows.clone());
        Joined::new(&query, &key, &value, self.n_heads)
    }

    /// Softmax attention; Burn's fused operation, except where attention weights
    /// themselves are dropped out, which it does not offer.
    fn attend(
        &self,
        query: Tensor<B, 3>,
        key: Tensor<B, 3>,
        value: Tensor<B, 3>,
        input: &EncoderInput<B>,
    ) -> Tensor<B, 3> {
        let [query, key, value] = [query, key, value].map(|x| self.split_heads(x));
        let [batch_size, n_heads, n_queries, d_head] = query.dims();
        let [_, _, seq_length, _] = key.dims();
        let padding = input
            .padding_mask()
            .map(|mask| mask.expand([batch_size, n_heads, n_queries, seq_length]));
        if !B::ad_enabled(&query.device()) {
            let options = AttentionModuleOptions::default();
            return self.join_heads(attention(query, key, value, padding, None, options));
        }
        // Scaling the queries touches far fewer numbers than scaling the scores.
        let scores = (query / (d_head as f64).sqrt()).matmul(key.swap_dims(2, 3));
        let scores = match padding {
            Some(mask) => scores.mask_fill(mask, f32::MIN),
            None => scores,
        };
        self.join_heads(self.attention_dropout.forward(softmax(scores, 3)).matmul(value))
    }

    fn split_heads(&self, x: Tensor<B, 3>) -> Tensor<B, 4> {
        let [batch_size, seq_length, d_model] = x.dims();
        x.reshape([batch_size, seq_length, self.n_heads, d_model / self.n_heads]).swap_dims(1, 2)
    }

    fn join_heads(&self, x: Tensor<B, 4>) -> Tensor<B, 3> {
        let [batch_size, n_heads, seq_length, d_head] = x.dims();
        x.swap_dims(1, 2).reshape([batch_size, seq_length, n_heads * d_head])
    }

    /// The same attention with every projection passed through `f`.
    pub(crate) fn map_projections<Q>(self, f: &mut impl FnMut(P) -> Q) -> SelfAttention<B, Q> {
        SelfAttention {
            query: f(self.query),
            key: f(self.key),
            value: f(self.value),
            output: f(self.output),
            layer_norm: self.layer_norm,
            epsilon: self.epsilon,
            n_heads: self.n_heads,
            attention_dropout: self.attention_dropout,
            hidden_dropout: self.hidden_dropout,
        }
    }
}
