//! What must hold on every backend; included by the binary's wgpu test as well.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData, backend::Backend};
use gf_embed::{
    CellReader, EmbedLayer, EmbedOptions, Error, GeneTokens, Readout, embed_cells, embed_genes,
    mean_pool,
};
use gf_model::{Encoder, EncoderConfig, Preset};
use gf_tokenize::{Dataset, DatasetWriter, TokenId, TokenSequence, Vocabulary, WriterOptions};

/// Different batches sum in another order: f32 rounding of values of magnitude 1.
const ROUNDING: f32 = 2e-5;

/// Cells of different lengths over genes with the tokens 4 to 13.
const CELLS: [&[u32]; 4] =
    [&[2, 5, 9, 3], &[2, 4, 5, 6, 7, 8, 9, 3], &[2, 13, 3], &[2, 12, 11, 10, 3]];

pub fn suite<B: Backend>(device: &B::Device) {
    B::seed(device, 3);
    let folder = tempfile::tempdir().unwrap();
    let vocabulary = vocabulary();
    let dataset = dataset(&folder.path().join("cells.dataset"), &CELLS, &vocabulary);
    let config = config();
    let encoder = config.init_encoder::<B>(device).unwrap();
    let reader = CellReader::new(&config, &dataset, &vocabulary).unwrap();
    for readout in [Readout::Cls, Readout::Cell] {
        rows_keep_their_order_and_id(&encoder, &reader, readout, device);
    }
    pooling_is_the_mean_of_the_range::<B>(device);
    cells_are_the_mean_of_their_genes(&encoder, &reader, device);
    cells_without_genes_have_no_mean(&encoder, &vocabulary, device);
    genes_have_the_state_at_their_place(&encoder, &reader, device);
    layers_differ(&encoder, &reader, device);
    progress_can_interrupt(&encoder, &reader, device);
    unfit_rows_are_refused(&reader);
    unfit_vocabularies_are_refused(&dataset, &vocabulary);
    a_state_without_context_is_refused();
}

fn vocabulary() -> Vocabulary {
    Vocabulary::from_genes((1..=10).map(|n| format!("ENSG{n:011}").parse().unwrap()))
}

fn dataset(folder: &std::path::Path, cells: &[&[u32]], vocabulary: &Vocabulary) -> Dataset {
    let mut writer = DatasetWriter::create(folder, WriterOptions::default()).unwrap();
    for (i, cell) in cells.iter().enumerate() {
        let tokens = TokenSequence::new(cell.iter().map(|&t| TokenId(t)).collect()).unwrap();
        writer.push(&format!("cell-{i}"), &tokens, &[]).unwrap();
    }
    writer.finish(vocabulary, "no medians", 32).unwrap();
    Dataset::open(folder).unwrap()
}

fn config() -> EncoderConfig {
    EncoderConfig {
        vocab_size: 14,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 24,
        max_position_embeddings: 8,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        initializer_range: 0.5,
        ..EncoderConfig::preset(Preset::V1_10M)
    }
}

fn go_on(_: gf_embed::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn rows_keep_their_order_and_id<B: Backend>(
    encoder: &Encoder<B>,
    reader: &CellReader<'_>,
    readout: Readout,
    device: &B::Device,
) {
    let options = EmbedOptions { readout, ..EmbedOptions::default() };
    let together =
        embed_cells(encoder, reader, &[3, 0, 1, 2], &options, device, &mut go_on).unwrap();
    assert_eq!(together.cell_ids, ["cell-3", "cell-0", "cell-1", "cell-2"]);
    for (place, row) in [3, 0, 1, 2].into_iter().enumerate() {
        let alone = embed_cells(encoder, reader, &[row], &options, device, &mut go_on).unwrap();
        let difference = &together.values.row(place) - &alone.values.row(0);
        let largest = difference.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert!(largest <= ROUNDING, "row {row}: differs by {largest}, at most {ROUNDING}");
    }
}

fn pooling_is_the_mean_of_the_range<B: Backend>(device: &B::Device) {
    let ranges = [1..4, 0..1, 2..4];
    let value =
        |cell: usize, row: usize, column: usize| (7 * cell + row * row + 10 * column) as f32;
    let inside = |cell: usize, row: usize| match ranges[cell].contains(&row) {
        true => 1.0,
        false => f32::NAN,
    };
    let index = |i: usize| (i / 10, i / 2 % 5, i % 2);
    let hidden: Vec<f32> = (0..30)
        .map(index)
        .map(|(cell, row, column)| value(cell, row, column) * inside(cell, row))
        .collect();
    let hidden = Tensor::<B, 3>::from_data(TensorData::new(hidden, [3, 5, 2]), device);
    let found: Vec<f32> = mean_pool(hidden, &ranges).into_data().iter::<f32>().collect();
    let mean = |cell: usize, column: usize| {
        let range = ranges[cell].clone();
        let n_rows = range.len() as f32;
        range.map(|row| value(cell, row, column)).sum::<f32>() / n_rows
    };
    for (i, found) in found.into_iter().enumerate() {
        let expected = mean(i / 2, i % 2);
        assert!((found - expected).abs() <= ROUNDING, "{i}: {found}, expected {expected}");
    }
}

fn cells_are_the_mean_of_their_genes<B: Backend>(
    encoder: &Encoder<B>,
    reader: &CellReader<'_>,
    device: &B::Device,
) {
    let options =
        EmbedOptions { layer: EmbedLayer::Last, readout: Readout::Cell, ..EmbedOptions::default() };
    let rows = [0, 1, 2, 3];
    let found = embed_cells(encoder, reader, &rows, &options, device, &mut go_on).unwrap();
    for row in rows {
        let tokens = reader.tokens(row).unwrap();
        let hidden = encoder.hidden_state(&reader.input(&[&tokens], device), 2);
        let hidden: Vec<f32> = hidden.into_data().iter::<f32>().collect();
        let genes = &hidden[16..16 * (tokens.len() - 1)];
        for (column, found) in found.values.row(row).iter().enumerate() {
            let sum: f32 = genes.iter().skip(column).step_by(16).sum();
            let expected = sum / (tokens.len() - 2) as f32;
            let difference = (found - expected).abs();
            assert!(difference <= ROUNDING, "row {row}, {column}: {found}, expected {expected}");
        }
    }
}

fn genes_have_the_state_at_their_place<B: Backend>(
    encoder: &Encoder<B>,
    reader: &CellReader<'_>,
    device: &B::Device,
) {
    let options =
        EmbedOptions { layer: EmbedLayer::Last, tokens_per_batch: 10, ..EmbedOptions::default() };
    let rows = [3, 1, 0];
    let (genes, go_on) = (GeneTokens::Genes, &mut go_on);
    let states = embed_genes(encoder, reader, &rows, genes, &options, device, go_on).unwrap();
    assert_eq!(states.rows, [3, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0]);
    assert_eq!(states.positions, [1, 2, 3, 1, 2, 3, 4, 5, 6, 1, 2]);
    assert_eq!(
        states.tokens.iter().map(|t| t.0).collect::<Vec<_>>(),
        [12, 11, 10, 4, 5, 6, 7, 8, 9, 5, 9]
    );
    for (i, (&row, &position)) in states.rows.iter().zip(&states.positions).enumerate() {
        let tokens = reader.tokens(row).unwrap();
        let hidden = encoder.hidden_state(&reader.input(&[&tokens], device), 2);
        let hidden: Vec<f32> = hidden.into_data().iter::<f32>().collect();
        for (found, expected) in states.values.row(i).iter().zip(&hidden[16 * position..]) {
            let difference = (found - expected).abs();
            assert!(difference <= ROUNDING, "row {row}, {position}: {found}, expected {expected}");
        }
    }
}

fn cells_without_genes_have_no_mean<B: Backend>(
    encoder: &Encoder<B>,
    vocabulary: &Vocabulary,
    device: &B::Device,
) {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder.path().join("empty.dataset"), &[&[2, 3]], vocabulary);
    let config = config();
    let reader = CellReader::new(&config, &dataset, vocabulary).unwrap();
    let embed = |readout| {
        let options = EmbedOptions { readout, ..EmbedOptions::default() };
        embed_cells(encoder, &reader, &[0], &options, device, &mut go_on)
    };
    assert!(embed(Readout::Cls).is_ok());
    let error = embed(Readout::Cell).unwrap_err().to_string();
    let expected = "row 0 (cell cell-0): found no genes, expected at least one";
    assert!(error.ends_with(expected), "{error}");
}

fn layers_differ<B: Backend>(encoder: &Encoder<B>, reader: &CellReader<'_>, device: &B::Device) {
    let embed = |layer| {
        let options = EmbedOptions { layer, ..EmbedOptions::default() };
        embed_cells(encoder, reader, &[0], &options, device, &mut go_on).unwrap().values
    };
    assert_ne!(embed(EmbedLayer::Last), embed(EmbedLayer::SecondToLast));
}

fn progress_can_interrupt<B: Backend>(
    encoder: &Encoder<B>,
    reader: &CellReader<'_>,
    device: &B::Device,
) {
    let options = EmbedOptions { tokens_per_batch: 1, ..EmbedOptions::default() };
    let mut stop = |_| ControlFlow::Break(());
    let error = embed_cells(encoder, reader, &[0, 1], &options, device, &mut stop).unwrap_err();
    assert!(matches!(error, Error::Interrupted { done: 1, total: 2 }), "{error}");
}

fn unfit_rows_are_refused(reader: &CellReader<'_>) {
    let error = reader.tokens(4).unwrap_err().to_string();
    assert!(error.ends_with("row 4 was asked for, the data set has 4 rows"), "{error}");
    let small = EncoderConfig { max_position_embeddings: 7, ..config() };
    let vocabulary = vocabulary();
    let reader = CellReader::new(&small, reader.dataset(), &vocabulary).unwrap();
    let error = reader.tokens(1).unwrap_err().to_string();
    assert!(error.ends_with("row 1 (cell cell-1): 8 tokens, the model has 7 positions"), "{error}");
}

fn unfit_vocabularies_are_refused(dataset: &Dataset, vocabulary: &Vocabulary) {
    for vocab_size in [13, 15] {
        let other = EncoderConfig { vocab_size, ..config() };
        let error = CellReader::new(&other, dataset, vocabulary).unwrap_err().to_string();
        let expected = format!("the vocabulary has 14 tokens, the model has {vocab_size}");
        assert!(error.ends_with(&expected), "{error}");
    }
}

fn a_state_without_context_is_refused() {
    assert_eq!(EmbedLayer::SecondToLast.hidden_state(3).unwrap(), 2);
    assert_eq!(EmbedLayer::Last.hidden_state(1).unwrap(), 1);
    let error = EmbedLayer::SecondToLast.hidden_state(1).unwrap_err();
    assert!(matches!(error, Error::NoContext { n_layers: 1 }), "{error}");
}
