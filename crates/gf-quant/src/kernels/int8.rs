//! Products of signed bytes on a processor, added up in 32-bit integers: codes are laid
//! out in [`pairs`] and widened to 16 bits on the way, or joined to fours where no input is
//! negative or VNNI multiplies them whatever their signs.

mod tokens;

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::FlexTensor;
use gf_model::kernels::{
    Room, downcast, flex, for_each_block,
    pairs::{self, N_VECTORS, Pairs, Work, dispatch, rows_from},
};

pub use self::pairs::n_columns;
use self::tokens::{Form, Outliers, Tokens};
use crate::Int8Linear;

/// Pairs of codes in a column of a panel: an even number, so that they join to fours.
pub fn n_pairs(d_input: usize) -> usize {
    2 * d_input.div_ceil(4)
}

/// Lays out codes, row-major `[d_output, d_input]`: for each panel of `n_columns` output
/// channels, filled up with zeros, pairs of codes that follow each other in the depth.
pub fn panels(codes: &[i8], d_input: usize, n_columns: usize) -> Vec<u8> {
    let d_output = codes.len() / d_input;
    let code = |j: usize, p: usize| match j < d_output && p < d_input {
        true => codes[j * d_input + p] as u8,
        false => 0,
    };
    let n_pairs = n_pairs(d_input);
    let mut panels = Vec::with_capacity(d_output.next_multiple_of(n_columns) * 2 * n_pairs);
    for first in (0..d_output).step_by(n_columns) {
        for p in 0..n_pairs {
            let column = |j| [code(j, 2 * p), code(j, 2 * p + 1)];
            panels.extend((first..first + n_columns).flat_map(column));
        }
    }
    panels
}

/// `(codes(input) · weightsᵀ) · unit · scale + bias` of each layer, with `unit` the value of
/// a code of each token and `scale` that of each output channel, in this order, at least
/// `floor`; `None` on a backend whose numbers are not in host memory. Columns of the input
/// that reach a `threshold` are multiplied in floating point (LLM.int8).
pub fn products<B: Backend, const N: usize>(
    layers: [&Int8Linear<B>; N],
    input: &Tensor<B, 3>,
    floor: f32,
    threshold: Option<f32>,
) -> Option<[Tensor<B, 3>; N]> {
    let [batch_size, seq_length, d_input] = input.dims();
    let n_tokens = batch_size * seq_length;
    let input = flex::rows(input)?;
    let x = flex::slice(&input);
    let outliers = threshold.map(|threshold| Outliers::find(x, d_input, threshold));
    let layers: Option<Vec<Layer>> =
        layers.iter().map(|layer| Layer::new(layer, outliers.as_ref())).collect();
    let layers: [Layer; N] = layers?.try_into().ok()?;
    let mut outputs = layers.each_ref().map(|layer| vec![0.0; n_tokens * layer.d_output()]);
    let places = outputs.each_mut().map(Vec::as_mut_slice);
    for_each_block([1, n_tokens], x, places, |_, x, outputs| {
        dispatch(Block { layers: &layers, outliers: outliers.as_ref(), floor, x, outputs });
    });
    let outputs = outputs.into_iter().zip(&layers);
    let tensor =
        |(y, layer): (_, &Layer)| flex::tensor(y, [batch_size, seq_length, layer.d_output()]);
    outputs.map(tensor).collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// `products` of `output` with those of `inner`, at least 0, to the same bytes.
pub fn feed_forward<B: Backend>(
    [inner, output]: [&Int8Linear<B>; 2],
    input: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    let [batch_size, seq_length, _] = input.dims();
    let n_tokens = batch_size * seq_length;
    let input = flex::rows(input)?;
    let layers = [Layer::new(inner, None)?, Layer::new(output, None)?];
    let d_output = layers[1].d_output();
    let mut y = vec![0.0; n_tokens * d_output];
    for_each_block([1, n_tokens], flex::slice(&input), [&mut y], |_, x, [y]| {
        dispatch(FeedForward { layers: &layers, x, y });
    });
    flex::tensor(y, [batch_size, seq_length, d_output])
}

/// A projection in host memory.
struct Layer {
    d_input: usize,
    n_columns: usize,
    /// Codes as [`panels`] lays them out.
    words: FlexTensor,
    scale: FlexTensor,
    bias: Vec<f32>,
    /// Codes of the input's outlying columns, for all output channels.
    outlying: Vec<Vec<f32>>,
}

impl Layer {
    fn new<B: Backend>(layer: &Int8Linear<B>, outliers: Option<&Outliers>) -> Option<Self> {
        let scale = flex::rows(&layer.scale.val())?;
        let bias = match &layer.bias {
            Some(bias) => flex::slice(&flex::rows(&bias.val())?).to_vec(),
            None => vec![0.0; flex::slice(&scale).len()],
        };
        let words = downcast::<FlexTensor>(layer.words.val().into_primitive())?;
        words.as_slice::<i32>()?;
        let Int8Linear { d_input, n_columns, .. } = *layer;
        let mut layer = Self { d_input, n_columns, words, scale, bias, outlying: Vec::new() };
        let columns = outliers.map_or(&[][..], |outliers| &outliers.columns);
        layer.outlying = columns.iter().map(|&p| layer.column(p)).collect();
        Some(layer)
    }

    fn d_output(&self) -> usize {
        self.bias.len()
    }

    fn codes(&self) -> &[i8] {
        bytemuck::cast_slice(self.words.as_slice::<i32>().unwrap_or(&[]))
    }

    /// The codes of input channel `p`.
    fn column(&self, p: usize) -> Vec<f32> {
        let (n_pairs, n_columns, codes) = (n_pairs(self.d_input), self.n_columns, self.codes());
        let pair = |j: usize| (j / n_columns * n_pairs + p / 2) * n_columns + j % n_columns;
        (0..self.d_output()).map(|j| f32::from(codes[2 * pair(j) + p % 2])).collect()
    }

    /// Products with all tokens, `[n_tokens, d_output]`, and where columns are outlying what `y`
    /// holds before, at least `floor`.
    #[inline(always)]
    fn multiply<P: Pairs, const ROWS: usize>(
        &self,
        simd: P,
        tokens: &Tokens,
        y: &mut [f32],
        floor: f32,
    ) {
        let (d_output, n_columns) = (self.d_output(), self.n_columns);
        let Tokens { words, n_words, units, form, excess } = tokens;
        let panels = self.codes().chunks_exact(2 * n_pairs(self.d_input) * n_columns);
        for (j, panel) in panels.enumerate() {
            let columns = j * n_columns..d_output.min((j + 1) * n_columns);
            let scale = &flex::slice(&self.scale)[columns.clone()];
            let bias = &self.bias[columns.clone()];
            for first in (0..units.len()).step_by(ROWS) {
                let rows = rows_from::<_, ROWS>(words, *n_words, first, 0..*n_words);
                let sums = match form {
                    Form::Pairs => simd.tile_bytes(rows, panel, *n_words),
                    Form::Fours => simd.tile_fours(rows, panel, *n_words),
                    Form::RaisedFours => simd.tile_raised_fours(rows, panel, *n_words),
                };
                let outputs = y[first * d_output..].chunks_exact_mut(d_output);
                let tokens = units[first..].iter().zip(&excess[first..]);
                for ((output, sums), (unit, excess)) in outputs.zip(&sums).zip(tokens) {
                    let sums: &[i32] = bytemuck::cast_slice::<[P::Words; N_VECTORS], i32>(
                        std::slice::from_ref(sums),
                    );
                    let numbers = output[columns.clone()].iter_mut().zip(sums);
                    for ((y, &sum), (scale, bias)) in numbers.zip(scale.iter().zip(bias)) {
                        // What was added up in floating point.
                        let before = if self.outlying.is_empty() { 0.0 } else { *y };
                        let value = ((sum - excess) as f32 * unit + before) * scale + bias;
                        // Not `max`, which would turn what is no number into one.
                        *y = if value < floor { floor } else { value };
                    }
                }
            }
        }
    }
}

/// The tokens of one thread.
struct Block<'a, const N: usize> {
    layers: &'a [Layer; N],
    outliers: Option<&'a Outliers>,
    floor: f32,
    x: &'a [f32],
    outputs: [&'a mut [f32]; N],
}

impl<const N: usize> Work for Block<'_, N> {
    #[inline(always)]
    fn run<P: Pairs, const ROWS: usize>(self, simd: P) {
        let Some(Layer { d_input, .. }) = self.layers.first() else { return };
        let tokens = Tokens::quantize::<P>(self.x, *d_input, self.outliers);
        for (layer, y) in self.layers.iter().zip(self.outputs) {
            if let Some(outliers) = self.outliers {
                outliers.add_products(self.x, &layer.outlying, y);
            }
            layer.multiply::<P, ROWS>(simd, &tokens, y, self.floor);
        }
    }
}

/// Two layers for the tokens of one thread.
struct FeedForward<'a> {
    layers: &'a [Layer; 2],
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Work for FeedForward<'_> {
    #[inline(always)]
    fn run<P: Pairs, const ROWS: usize>(self, simd: P) {
        let [inner, output] = self.layers;
        let tokens = Tokens::quantize::<P>(self.x, inner.d_input, None);
        let mut between = Room::new(tokens.units.len() * inner.d_output());
        inner.multiply::<P, ROWS>(simd, &tokens, between.numbers(), 0.0);
        let tokens = Tokens::quantize::<P>(between.numbers(), output.d_input, None);
        output.multiply::<P, ROWS>(simd, &tokens, self.y, f32::NEG_INFINITY);
    }
}
