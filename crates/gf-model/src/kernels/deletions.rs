//! Softmax attention of many rows of tokens at once that differ in one place: up to there
//! each is the one, from there on the other of two rows. So is a cell without one token:
//! up to it the cell without its last, from there on the cell without its first.
//!
//! Up to the place the weighted sums over keys are a beginning of those over the first row,
//! from there on an end of those over the second. Both grow key by key; nothing is taken
//! away again, so that a large score that is in some of the rows costs the others no digit.

use std::{mem::swap, ops::Range};

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::FlexTensor;
use pulp::{NullaryFnOnce, Simd};
use rayon::prelude::*;

use super::{
    attention::{Cell, State},
    flex,
    panels::Panels,
    tile::{Tiled, dispatch},
};

/// Keys that are added at once, at multiples of it: the numbers of a joined row do not
/// depend on what others are computed with it, nor, as the widest panels are as wide, on
/// the vectors.
const CHUNK: usize = 32;
/// Queries that one thread takes at a time.
const QUERIES: usize = 120;

/// Queries, keys and values of two rows of tokens that can be joined at any place.
pub(crate) struct Joined {
    /// `[2, seq_length, d_model]`.
    queries: FlexTensor,
    rows: [Cell; 2],
    seq_length: usize,
    d_model: usize,
}

impl Joined {
    /// From the projections of two rows, each `[2, seq_length, d_model]`; `None` on
    /// another backend, or if the numbers are not f32.
    pub(crate) fn new<B: Backend>(
        query: &Tensor<B, 3>,
        key: &Tensor<B, 3>,
        value: &Tensor<B, 3>,
        n_heads: usize,
    ) -> Option<Self> {
        let [_, seq_length, d_model] = query.dims();
        let (queries, keys, values) = (flex::rows(query)?, flex::rows(key)?, flex::rows(value)?);
        let (keys, values) = (flex::slice(&keys), flex::slice(&values));
        let (keys, values) =
            (keys.split_at(seq_length * d_model), values.split_at(seq_length * d_model));
        let rows = [(keys.0, values.0), (keys.1, values.1)]
            .map(|(keys, values)| Cell::new(keys, values, d_model, n_heads));
        Some(Self { queries, rows, seq_length, d_model })
    }

    /// Attention within each of the rows that are the first up to one of `places`, then the
    /// second: `[n_places, seq_length, d_model]`, in the order of the places, each at most
    /// `seq_length`.
    pub(crate) fn attend<B: Backend>(&self, places: &[usize]) -> Option<Tensor<B, 3>> {
        let mut output = vec![0.0; places.len() * self.seq_length * self.d_model];
        self.blocks(&mut output, places).into_par_iter().for_each(dispatch);
        flex::tensor(output, [places.len(), self.seq_length, self.d_model])
    }

    /// The work, shared out: some neighbouring queries of one of the two rows each, with
    /// all joined rows that have them.
    fn blocks<'a>(&'a self, output: &'a mut [f32], places: &[usize]) -> Vec<Block<'a>> {
        let n = QUERIES * self.d_model;
        let queries = flex::slice(&self.queries).chunks_exact(self.seq_length * self.d_model);
        let mut blocks: Vec<Block> = queries
            .flat_map(|row| row.chunks(n))
            .map(|queries| Block { joined: self, queries, outputs: Vec::new() })
            .collect();
        let (of_first, of_second) = blocks.split_at_mut(self.seq_length.div_ceil(QUERIES));
        for (row, &place) in output.chunks_exact_mut(self.seq_length * self.d_model).zip(places) {
            let halves = of_first.iter_mut().zip(&mut *of_second);
            for (i, (output, (first, second))) in row.chunks_mut(n).zip(halves).enumerate() {
                let n_first = place.saturating_sub(i * QUERIES).min(output.len() / self.d_model);
                let (before, behind) = output.split_at_mut(n_first * self.d_model);
                first.push(Output { place, first_query: 0, rows: before });
                second.push(Output { place, first_query: n_first, rows: behind });
            }
        }
        blocks.iter_mut().for_each(|block| block.outputs.sort_by_key(|output| output.place));
        blocks
    }
}

/// What some queries find in the joined rows that have them, in the order of their places.
struct Block<'a> {
    joined: &'a Joined,
    queries: &'a [f32],
    outputs: Vec<Output<'a>>,
}

/// The part of one joined row that comes from a block.
struct Output<'a> {
    place: usize,
    /// The block's queries before it are not in this row.
    first_query: usize,
    /// `[n_queries, d_model]`.
    rows: &'a mut [f32],
}

impl<'a> Block<'a> {
    fn push(&mut self, output: Output<'a>) {
        if !output.rows.is_empty() {
            self.outputs.push(output);
        }
    }
}

impl Tiled for Block<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(mut self, simd: S) {
        let Joined { rows: [first, second], d_model, .. } = self.joined;
        let n_queries = self.queries.len() / d_model;
        let d_head = d_model / first.heads.len();
        let mut state = State::new(n_queries, d_head, first.heads[0].1.n_columns());
        for (head, (first, second)) in first.heads.iter().zip(&second.heads).enumerate() {
            let columns = head * d_head..(head + 1) * d_head;
            let queries = self.queries.chunks_exact(*d_model).map(|row| &row[columns.clone()]);
            state.begin(queries.clone());
            let ends = self.ends::<S, ROWS>(simd, &mut state, second);
            state.begin(queries);
            self.beginnings::<S, ROWS>(simd, &mut state, first, (columns, &ends));
        }
    }
}

impl Block<'_> {
    /// Sums over the keys of the second row from each place on, the last place first.
    #[inline(always)]
    fn ends<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        state: &mut State,
        second: &(Panels, Panels),
    ) -> Vec<Sums> {
        let mut ends = Vec::with_capacity(self.outputs.len());
        let mut seen = self.joined.seq_length;
        for place in self.outputs.iter().rev().map(|output| output.place) {
            let whole = seen.min(place.next_multiple_of(CHUNK));
            for keys in chunks(whole..seen).rev() {
                add_keys::<S, ROWS>(simd, state, second, keys);
            }
            seen = whole;
            let sums = Sums::of(state);
            add_keys::<S, ROWS>(simd, state, second, place..whole);
            ends.push(sums.exchanged(state));
        }
        ends
    }

    /// Sums over the keys of the first row up to each place, completed by the `ends` to the
    /// output's `columns`.
    #[inline(always)]
    fn beginnings<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        state: &mut State,
        first: &(Panels, Panels),
        (columns, ends): (Range<usize>, &[Sums]),
    ) {
        let mut seen = 0;
        for (output, end) in self.outputs.iter_mut().zip(ends.iter().rev()) {
            let whole = output.place - output.place % CHUNK;
            for keys in chunks(seen..whole) {
                add_keys::<S, ROWS>(simd, state, first, keys);
            }
            seen = whole;
            let sums = Sums::of(state);
            add_keys::<S, ROWS>(simd, state, first, whole..output.place);
            let rows = output.rows.chunks_exact_mut(self.joined.d_model);
            let rows = rows.map(|row| &mut row[columns.clone()]);
            finish(&sums.exchanged(state), end, output.first_query, rows);
        }
    }
}

/// Keys of whole chunks, chunk by chunk.
fn chunks(keys: Range<usize>) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let end = keys.end;
    keys.step_by(CHUNK).map(move |first| first..end.min(first + CHUNK))
}

/// The sums of a [`State`], kept while it goes on.
struct Sums {
    width: usize,
    top: Vec<f32>,
    total: Vec<f32>,
    mixed: Vec<f32>,
}

impl Sums {
    fn of(state: &State) -> Self {
        let State { width, top, total, mixed, .. } = state;
        Self { width: *width, top: top.clone(), total: total.clone(), mixed: mixed.clone() }
    }

    /// Sets a state back to these sums and gives those it had.
    fn exchanged(mut self, state: &mut State) -> Self {
        swap(&mut self.top, &mut state.top);
        swap(&mut self.total, &mut state.total);
        swap(&mut self.mixed, &mut state.mixed);
        self
    }
}

/// Adds some keys of one chunk of a row, and their values, to what the queries have seen: a
/// function of its own for the vectors, because copies of it are too long to be inlined.
struct AddKeys<'a, S, const ROWS: usize> {
    simd: S,
    state: &'a mut State,
    row: &'a (Panels, Panels),
    keys: Range<usize>,
}

impl<S: Simd, const ROWS: usize> NullaryFnOnce for AddKeys<'_, S, ROWS> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        let Self { simd, state, row: (keys, values), keys: range } = self;
        // Panels are multiplied whole: what the chunk holds before the range weighs nothing.
        let n_before = range.start % CHUNK;
        let (first, n_keys) = (range.start - n_before, n_before + range.len());
        state.score::<S, ROWS>(simd, keys, first, n_keys);
        for scores in &mut state.scores {
            scores[..n_before].fill(f32::NEG_INFINITY);
        }
        state.exponentiate(simd, n_keys);
        state.mix::<S, ROWS>(simd, values, first, n_keys);
    }
}

fn add_keys<S: Simd, const ROWS: usize>(
    simd: S,
    state: &mut State,
    row: &(Panels, Panels),
    keys: Range<usize>,
) {
    if !keys.is_empty() {
        simd.vectorize(AddKeys::<S, ROWS> { simd, state, row, keys });
    }
}

/// The values mixed over both parts of a row, of the queries from `first_query` on.
#[inline(always)]
fn finish<'a>(
    begun: &Sums,
    ended: &Sums,
    first_query: usize,
    outputs: impl Iterator<Item = &'a mut [f32]>,
) {
    for (query, output) in (first_query..).zip(outputs) {
        let top = begun.top[query].max(ended.top[query]);
        let weights = [begun, ended].map(|sums| (sums.top[query] - top).exp2());
        let total = weights[0] * begun.total[query] + weights[1] * ended.total[query];
        let [a, b] = weights.map(|weight| weight / total);
        let mixed = [begun, ended].map(|sums| &sums.mixed[query * sums.width..]);
        for (to, (begun, ended)) in output.iter_mut().zip(mixed[0].iter().zip(mixed[1])) {
            *to = a * begun + b * ended;
        }
    }
}

#[cfg(test)]
mod tests;
