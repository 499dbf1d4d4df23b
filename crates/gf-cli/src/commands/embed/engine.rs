//! The encoder that turns rows of a data set into vectors.

use std::ops::ControlFlow;

use burn::tensor::backend::Backend;
use gf_embed::{
    CellReader, EmbedOptions, Error, GeneStates, GeneTokens, Progress, embed_cells, embed_genes,
    similarity::row_cosines,
};
use gf_model::{Encoder, PackedLinear, Projection};
use ndarray::Array2;

/// An encoder, and the one in f32 that one in another precision is compared with.
pub struct Engine<'a, B: Backend, P: Projection<B>> {
    pub encoder: Encoder<B, P>,
    pub full: Option<Encoder<B, PackedLinear<B>>>,
    pub reader: &'a CellReader<'a>,
    pub options: EmbedOptions,
    pub tokens: GeneTokens,
    pub device: &'a B::Device,
}

impl<B: Backend, P: Projection<B>> Engine<'_, B, P> {
    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        self.encoder.embeddings.layer_norm.gamma.dims()[0]
    }

    /// The vector of each cell, and its cosine with that of the full encoder.
    ///
    /// # Errors
    ///
    /// As [`embed_cells`].
    pub fn cells(
        &self,
        rows: &[usize],
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(Array2<f32>, Vec<f64>), Error> {
        let Self { encoder, full, reader, options, device, .. } = self;
        let values = embed_cells(encoder, reader, rows, options, device, progress)?.values;
        let Some(full) = full else { return Ok((values, vec![])) };
        let full = embed_cells(full, reader, rows, options, device, progress)?.values;
        let cosines = row_cosines(&values, &full);
        Ok((values, cosines))
    }

    /// The state of each gene of each cell, and its cosine with that of the full encoder.
    ///
    /// # Errors
    ///
    /// As [`embed_genes`].
    pub fn genes(
        &self,
        rows: &[usize],
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(GeneStates, Vec<f64>), Error> {
        let Self { encoder, full, reader, options, tokens, device } = self;
        let states = embed_genes(encoder, reader, rows, *tokens, options, device, progress)?;
        let Some(full) = full else { return Ok((states, vec![])) };
        let full = embed_genes(full, reader, rows, *tokens, options, device, progress)?.values;
        let cosines = row_cosines(&states.values, &full);
        Ok((states, cosines))
    }
}
