//! What a run costs, before it is run: forward passes, operations, time, memory, money.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    ops::ControlFlow,
    time::Instant,
};

use burn::tensor::backend::Backend;
use gf_embed::CellReader;
use gf_model::{Encoder, EncoderConfig, Projection};
use gf_tokenize::TokenId;
use rayon::prelude::*;

use crate::{
    Error, PerturbOptions, Progress,
    perturbation::{Targets, Variant},
    perturber::SHARED_BATCHES,
    run::{run, variants},
};

/// Cells that a calibration times, at even places among the cells ordered by work.
const N_TIMED: usize = 3;
/// Numbers of a token that live at once in a layer, in widths of the model: the layer's
/// input, query, key, value, mixed values and their projection, and where deletions share
/// the first layer, what that keeps of four batches at two at once; the wide half of the
/// feed-forward comes on top.
const WIDTHS_ALIVE: u64 = 10;
const BYTES: u64 = size_of::<f32>() as u64;

/// The forward passes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Those of each cell, in the order of the run.
    pub cells: Vec<CellPlan>,
}

/// The forward passes of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellPlan {
    /// Row of the data set, 0-based.
    pub row: usize,
    /// Length in tokens of each original.
    pub originals: Vec<usize>,
    /// Edited cells by their length in tokens.
    pub variants: BTreeMap<usize, u64>,
}

impl Plan {
    /// Counts the passes that [`run`] makes, without making them.
    ///
    /// # Errors
    ///
    /// A row does not fit the model, there is no CLS token to read, or nothing to perturb.
    pub fn new(
        reader: &CellReader<'_>,
        rows: &[usize],
        options: &PerturbOptions,
    ) -> Result<Self, Error> {
        if options.readout == gf_embed::Readout::Cls {
            reader.require_cls()?;
        }
        let cell = |&row: &usize| CellPlan::new(reader, row, options);
        let plan = Self { cells: rows.par_iter().map(cell).collect::<Result<_, _>>()? };
        match plan.n_variants() {
            0 => Err(Error::NothingToPerturb { n_cells: rows.len() }),
            _ => Ok(plan),
        }
    }

    /// Edited cells.
    pub fn n_variants(&self) -> u64 {
        self.cells.iter().map(CellPlan::n_variants).sum()
    }

    /// Forward passes: one per edited cell and one per original.
    pub fn n_passes(&self) -> u64 {
        let n_originals: u64 = self.cells.iter().map(|cell| cell.originals.len() as u64).sum();
        self.n_variants() + n_originals
    }

    /// Floating-point operations of all passes, as if none shared the first layer.
    pub fn operations(&self, shape: &PassShape) -> f64 {
        self.cells.iter().map(|cell| cell.operations(shape)).sum()
    }

    /// Tokens of the longest pass.
    pub fn longest(&self) -> usize {
        let lengths =
            |cell: &CellPlan| cell.originals.iter().chain(cell.variants.keys()).max().copied();
        self.cells.iter().filter_map(lengths).max().unwrap_or(0)
    }

    /// Cells at even places among those with variants, ordered by their work.
    fn timed(&self, shape: &PassShape) -> Vec<&CellPlan> {
        let mut cells: Vec<&CellPlan> =
            self.cells.iter().filter(|cell| cell.n_variants() > 0).collect();
        cells.sort_by(|a, b| a.operations(shape).total_cmp(&b.operations(shape)));
        (0..N_TIMED).map(|i| cells[(2 * i + 1) * cells.len() / (2 * N_TIMED)]).collect()
    }
}

impl CellPlan {
    fn new(reader: &CellReader<'_>, row: usize, options: &PerturbOptions) -> Result<Self, Error> {
        let tokens = reader.tokens(row)?;
        let n_genes = reader.genes(&tokens).len();
        let n_special = tokens.len() - n_genes;
        let edited = variants(&tokens, reader, options);
        let cuts: BTreeSet<usize> = edited.iter().map(|variant| variant.n_cut).collect();
        let originals = cuts.into_iter().map(|n_cut| tokens.len() - n_cut.min(n_genes)).collect();
        let mut variants = BTreeMap::new();
        for variant in &edited {
            *variants.entry(variant.n_genes + n_special).or_default() += 1;
        }
        Ok(Self { row, originals, variants })
    }

    fn n_variants(&self) -> u64 {
        self.variants.values().sum()
    }

    fn operations(&self, shape: &PassShape) -> f64 {
        let originals: f64 = self.originals.iter().map(|&n| shape.operations(n)).sum();
        originals + self.variant_operations(shape)
    }

    fn variant_operations(&self, shape: &PassShape) -> f64 {
        self.variants.iter().map(|(&n, &count)| count as f64 * shape.operations(n)).sum()
    }
}

/// The layers that a forward pass goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassShape {
    /// Width of a hidden state.
    pub d_model: usize,
    /// Width of the feed-forward layer.
    pub d_ff: usize,
    /// Layers up to the one that is read.
    pub n_layers: usize,
    /// Whether the last of them computes the CLS row alone.
    pub cls_alone: bool,
}

impl PassShape {
    /// The layers that a run with these options needs of a model.
    ///
    /// # Errors
    ///
    /// The model has too few layers for the one that is read.
    pub fn new(config: &EncoderConfig, options: &PerturbOptions) -> Result<Self, Error> {
        Ok(Self {
            d_model: config.hidden_size,
            d_ff: config.intermediate_size,
            n_layers: options.layer.hidden_state(config.num_hidden_layers)?,
            cls_alone: !options.needs_rows(),
        })
    }

    /// Floating-point operations of a pass over `n` tokens, a multiplication and an
    /// addition as two: per token and layer `8·d² + 4·d·d_ff` in the projections and
    /// `4·n·d` in the attention. Where CLS alone is read, the last layer has the keys
    /// and values of every token and everything else of one.
    ///
    /// ```
    /// use gf_perturb::plan::PassShape;
    /// let rows = PassShape { d_model: 2, d_ff: 3, n_layers: 2, cls_alone: false };
    /// assert_eq!(rows.operations(5), 2.0 * 5.0 * (8.0 * 4.0 + 4.0 * 6.0 + 4.0 * 5.0 * 2.0));
    /// let cls = PassShape { cls_alone: true, ..rows };
    /// assert_eq!(cls.operations(5), 480.0 + 5.0 * 16.0 + 16.0 + 24.0 + 40.0);
    /// ```
    pub fn operations(&self, n: usize) -> f64 {
        let (n, d, d_ff) = (n as f64, self.d_model as f64, self.d_ff as f64);
        let (key_value, query_output) = (4.0 * d * d, 4.0 * d * d);
        let row = query_output + 4.0 * d * d_ff + 4.0 * n * d;
        let whole = n * (key_value + row);
        let n_whole = self.n_layers - usize::from(self.cls_alone);
        let last = if self.cls_alone { n * key_value + row } else { 0.0 };
        n_whole as f64 * whole + last
    }

    /// Bytes of 32-bit activations that batches of so many tokens hold at their widest.
    /// Scores of attention are not among them: they are computed in blocks.
    pub fn activation_bytes(&self, n_tokens: u64) -> u64 {
        BYTES * n_tokens * (WIDTHS_ALIVE * self.d_model as u64 + self.d_ff as u64)
    }

    /// Tokens a batch may have so that `batches_at_once` of them hold no more than `bytes`
    /// of activations.
    ///
    /// ```
    /// use gf_perturb::plan::PassShape;
    /// let shape = PassShape { d_model: 256, d_ff: 512, n_layers: 6, cls_alone: true };
    /// let n_tokens = shape.batch_tokens(3 << 19, 2);
    /// assert_eq!(n_tokens, 64);
    /// assert_eq!(shape.activation_bytes(2 * n_tokens as u64), 3 << 19);
    /// ```
    pub fn batch_tokens(&self, bytes: u64, batches_at_once: usize) -> usize {
        let of_all = bytes / self.activation_bytes(1).max(1);
        usize::try_from(of_all).unwrap_or(usize::MAX) / batches_at_once.max(1)
    }
}

/// Tokens that are computed at the same time in a run whose longest pass has `longest`.
pub fn tokens_at_once(options: &PerturbOptions, longest: usize) -> u64 {
    let batch = options.tokens_per_batch.max(longest) as u64;
    batch * options.batches_at_once.max(1) as u64
}

/// Seconds per floating-point operation on this device: the median over some cells of
/// the plan, of each of which as many variants as are computed at once are read and
/// timed, after one cell that is not.
///
/// # Errors
///
/// As [`run`].
pub fn calibrate<B: Backend, P: Projection<B>>(
    plan: &Plan,
    shape: &PassShape,
    (encoder, reader, device): (&Encoder<B, P>, &CellReader<'_>, &B::Device),
    options: &PerturbOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<f64, Error> {
    let timed = plan.timed(shape);
    let total = timed.len() as u64 + 1;
    let mut paces = Vec::new();
    for (done, cell) in std::iter::once(&timed[0]).chain(&timed).enumerate() {
        paces.push(pace(cell.row, shape, (encoder, reader, device), options)?);
        let done = done as u64 + 1;
        if progress(Progress { done, total }).is_break() && done < total {
            return Err(Error::Interrupted { done, total });
        }
    }
    paces.remove(0);
    paces.sort_by(f64::total_cmp);
    Ok(paces[paces.len() / 2])
}

/// Seconds per operation of some variants of one cell, its original apart.
fn pace<B: Backend, P: Projection<B>>(
    row: usize,
    shape: &PassShape,
    (encoder, reader, device): (&Encoder<B, P>, &CellReader<'_>, &B::Device),
    options: &PerturbOptions,
) -> Result<f64, Error> {
    let tokens = reader.tokens(row)?;
    // Pairs are timed as single genes, which share more.
    let is_paired = matches!(options.targets, Targets::WithAnchor(_));
    let options = PerturbOptions {
        shares_first_layer: options.shares_first_layer && !is_paired,
        targets: one_round(variants(&tokens, reader, options), &tokens, options),
        ..options.clone()
    };
    let cell = CellPlan::new(reader, row, &options)?;
    let n_originals = cell.originals.len() as u64;
    let (mut start, mut seconds) = (Instant::now(), 0.0);
    let mut clock = |progress: Progress| {
        if progress.done <= n_originals {
            start = Instant::now();
        }
        seconds = start.elapsed().as_secs_f64();
        ControlFlow::Continue(())
    };
    run(encoder, reader, &[row], &options, device, &mut clock, &mut |_| Ok(()))?;
    Ok(seconds / cell.variant_operations(shape))
}

/// The genes of as many variants as are computed at once: neighbours, as in a run.
fn one_round(mut variants: Vec<Variant>, tokens: &[i32], options: &PerturbOptions) -> Targets {
    if let Targets::Together(_) = options.targets {
        return options.targets.clone();
    }
    variants.sort_by_key(|variant| variant.position(tokens));
    let per_batch = (options.tokens_per_batch / tokens.len()).max(1);
    let n_batches = options.batches_at_once.max(1).next_multiple_of(SHARED_BATCHES);
    let genes = variants.iter().take(per_batch * n_batches).filter_map(|v| v.group.last());
    Targets::Each(genes.map(|&gene| TokenId(gene as u32)).collect())
}

/// What computing for some time costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Seconds of one device that does everything.
    pub device_seconds: f64,
    /// Seconds until all devices are done, each with an even share.
    pub seconds: f64,
    /// Price of all devices' time, where the price of an hour is known.
    pub price: Option<f64>,
}

impl Cost {
    /// Spreads the time of one device over several.
    ///
    /// ```
    /// use gf_perturb::plan::Cost;
    /// let cost = Cost::new(7_200.0, 4.try_into()?, Some(3.0));
    /// assert_eq!((cost.seconds, cost.price), (1_800.0, Some(6.0)));
    /// # Ok::<(), std::num::TryFromIntError>(())
    /// ```
    pub fn new(device_seconds: f64, n_devices: NonZeroU32, price_per_hour: Option<f64>) -> Self {
        Self {
            device_seconds,
            seconds: device_seconds / f64::from(n_devices.get()),
            price: price_per_hour.map(|price| price * device_seconds / 3_600.0),
        }
    }
}
