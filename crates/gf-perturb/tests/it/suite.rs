//! What must hold on every backend; included by the binary's wgpu test as well.

use std::{collections::BTreeSet, ops::ControlFlow};

use burn::tensor::backend::Backend;
use gf_embed::{CellReader, similarity::cosine};
use gf_model::{Encoder, EncoderConfig, Preset};
use gf_perturb::{
    CellChoice, CellShifts, Error, PerturbOptions, Progress, choose_cells, count_passes,
    perturbation::{Edit, Targets},
    plan::{PassShape, Plan, calibrate},
    run,
};
use gf_tokenize::{
    Dataset, DatasetWriter, MetadataKind, MetadataValue, TokenId, TokenSequence, Vocabulary,
    WriterOptions,
};

/// Batched and single passes sum in another order; cosines of f32 vectors.
const ROUNDING: f64 = 2e-5;

const CELLS: [&[u32]; 3] = [&[2, 4, 5, 6, 7, 8, 9, 3], &[2, 13, 3], &[2, 12, 5, 10, 3]];

pub fn suite<B: Backend>(device: &B::Device) {
    B::seed(device, 5);
    let folder = tempfile::tempdir().unwrap();
    let vocabulary =
        Vocabulary::from_genes((1..=10).map(|n| format!("ENSG{n:011}").parse().unwrap()));
    let dataset = dataset(&folder.path().join("cells.dataset"), &vocabulary);
    let config = config();
    let encoder = config.init_encoder::<B>(device).unwrap();
    let reader = CellReader::new(&config, &dataset, &vocabulary).unwrap();
    batches_change_nothing(&encoder, &reader, device);
    chosen_genes_alone_are_deleted(&encoder, &reader, device);
    runs_can_be_interrupted(&encoder, &reader, device);
    plans_are_what_runs_do(&config, &encoder, &reader, device);
    cells_are_chosen(&dataset);
}

fn dataset(folder: &std::path::Path, vocabulary: &Vocabulary) -> Dataset {
    let options = WriterOptions {
        columns: vec![("kind".to_owned(), MetadataKind::Text)],
        ..WriterOptions::default()
    };
    let mut writer = DatasetWriter::create(folder, options).unwrap();
    for (i, cell) in CELLS.iter().enumerate() {
        let tokens = TokenSequence::new(cell.iter().map(|&t| TokenId(t)).collect()).unwrap();
        let kind = if i == 1 { "B" } else { "T" };
        writer.push(&format!("cell-{i}"), &tokens, &[MetadataValue::Text(kind)]).unwrap();
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

fn go_on(_: gf_perturb::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The cells that a run gives.
fn cells<B: Backend>(
    (encoder, reader, device): (&Encoder<B>, &CellReader<'_>, &B::Device),
    rows: &[usize],
    options: &PerturbOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<CellShifts>, Error> {
    let mut cells = Vec::new();
    let mut take = |cell| {
        cells.push(cell);
        Ok(())
    };
    run(encoder, reader, rows, options, device, progress, &mut take)?;
    Ok(cells)
}

/// The slow oracle: one variant at a time through the whole hidden state.
fn batches_change_nothing<B: Backend>(
    encoder: &Encoder<B>,
    reader: &CellReader<'_>,
    device: &B::Device,
) {
    let state = |tokens: &[i32]| -> Vec<f32> {
        let hidden = encoder.hidden_state(&reader.input(&[tokens], device), 1);
        hidden.narrow(1, 0, 1).into_data().iter::<f32>().collect()
    };
    let options =
        PerturbOptions { tokens_per_batch: 24, batches_at_once: 2, ..PerturbOptions::new(8) };
    let found = cells((encoder, reader, device), &[0, 1, 2], &options, &mut go_on).unwrap();
    for (row, cell) in found.iter().enumerate() {
        let tokens = reader.tokens(row).unwrap();
        assert_eq!(cell.effects.len(), tokens.len() - 2);
        for (i, effect) in cell.effects.iter().enumerate() {
            let (found, gene) = (effect.cosine, tokens[i + 1]);
            assert_eq!(effect.genes, [TokenId(gene as u32)]);
            let expected = cosine(&state(&Edit::Delete.apply(&tokens, &[gene])), &state(&tokens));
            let difference = (found - expected).abs();
            assert!(difference <= ROUNDING, "cell {row}, gene {i}: {found}, expected {expected}");
        }
    }
}

fn chosen_genes_alone_are_deleted<B: Backend>(
    encoder: &Encoder<B>,
    reader: &CellReader<'_>,
    device: &B::Device,
) {
    let chosen = |tokens: &[u32]| PerturbOptions {
        targets: Targets::Each(tokens.iter().map(|&token| TokenId(token)).collect()),
        ..PerturbOptions::new(8)
    };
    let options = chosen(&[5, 12]);
    assert_eq!(count_passes(reader, &[0, 1, 2], &options).unwrap(), (1 + 1) + (2 + 1));
    let found = cells((encoder, reader, device), &[0, 1, 2], &options, &mut go_on).unwrap();
    let genes: Vec<Vec<u32>> =
        found.iter().map(|cell| cell.effects.iter().map(|e| e.genes[0].0).collect()).collect();
    assert_eq!(genes, [vec![5], vec![], vec![5, 12]]);
    let error = cells((encoder, reader, device), &[0], &chosen(&[13]), &mut go_on).unwrap_err();
    assert!(matches!(error, Error::NothingToPerturb { n_cells: 1 }), "{error}");
}

fn runs_can_be_interrupted<B: Backend>(
    encoder: &Encoder<B>,
    reader: &CellReader<'_>,
    device: &B::Device,
) {
    let mut stop = |_| ControlFlow::Break(());
    let options = PerturbOptions::new(8);
    let error = cells((encoder, reader, device), &[0], &options, &mut stop).unwrap_err();
    assert!(matches!(error, Error::Interrupted { done: 1, total: 7 }), "{error}");
}

/// The plan's passes are those that a run makes; a calibration reads real cells.
fn plans_are_what_runs_do<B: Backend>(
    config: &EncoderConfig,
    encoder: &Encoder<B>,
    reader: &CellReader<'_>,
    device: &B::Device,
) {
    let token = TokenId(5);
    let all_targets = [
        Targets::All,
        Targets::Each(vec![token, TokenId(12)]),
        Targets::Together(vec![token, TokenId(10)]),
        Targets::WithAnchor(token),
    ];
    for (targets, edit) in all_targets
        .iter()
        .flat_map(|targets| [Edit::Delete, Edit::Overexpress].map(|edit| (targets, edit)))
    {
        let targets = targets.clone();
        let options = PerturbOptions { targets, edit, ..PerturbOptions::new(8) };
        let plan = Plan::new(reader, &[0, 1, 2], &options).unwrap();
        let mut made = 0;
        let mut count = |progress: Progress| {
            made = progress.done;
            ControlFlow::Continue(())
        };
        let found = cells((encoder, reader, device), &[0, 1, 2], &options, &mut count).unwrap();
        let effects: usize = found.iter().map(|cell| cell.effects.len()).sum();
        assert_eq!((plan.n_passes(), plan.n_variants()), (made, effects as u64), "{options:?}");

        let shape = PassShape::new(config, &options).unwrap();
        let tools = (encoder, reader, device);
        let pace = calibrate(&plan, &shape, tools, &options, &mut go_on).unwrap();
        assert!(pace > 0.0 && pace.is_finite(), "{pace}");
    }
    let options = PerturbOptions { targets: Targets::Each(vec![token]), ..PerturbOptions::new(8) };
    let error = Plan::new(reader, &[1], &options).unwrap_err();
    assert!(matches!(error, Error::NothingToPerturb { n_cells: 1 }), "{error}");
}

fn cells_are_chosen(dataset: &Dataset) {
    let choose = |filters: &[(&str, &str)], max_cells, seed| {
        let filters = filters.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect();
        choose_cells(dataset, &CellChoice { filters, max_cells, seed })
    };
    assert_eq!(choose(&[], None, 0).unwrap(), [0, 1, 2]);
    assert_eq!(choose(&[("kind", "T")], None, 0).unwrap(), [0, 2]);
    let drawn = choose(&[], Some(2), 7).unwrap();
    assert!(drawn.len() == 2 && drawn[0] < drawn[1]);
    assert_eq!(drawn, choose(&[], Some(2), 7).unwrap(), "the same seed draws the same cells");
    let others: BTreeSet<Vec<usize>> =
        (0..50).map(|seed| choose(&[], Some(2), seed).unwrap()).collect();
    assert_eq!(others.len(), 3, "every pair is drawn by some seed");
    let error = choose(&[("kind", "NK")], None, 0).unwrap_err().to_string();
    assert!(error.ends_with("no cell has kind = NK"), "{error}");
    assert!(choose(&[("colour", "red")], None, 0).unwrap_err().to_string().contains("colour"));
}
