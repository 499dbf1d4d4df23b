//! Deletions that share their first layer against each by itself.

use std::ops::ControlFlow;

use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use gf_embed::{CellReader, EmbedLayer, Readout, StateEmbeddings};
use gf_model::{Encoder, EncoderConfig, PackedLinear, Preset};
use gf_perturb::{
    CellShifts, PerturbOptions,
    perturbation::{Edit, Targets},
    run,
};
use gf_tokenize::{Dataset, DatasetWriter, TokenId, TokenSequence, Vocabulary, WriterOptions};

/// Two orders of summation in the first layer, as seen in cosines of f32 vectors.
const ROUNDING: f64 = 2e-5;
const N_KNOWN: u32 = 300;
const D_MODEL: usize = 24;
const MAX_LENGTH: usize = 256;
/// `<cls>` and `<eos>` of vocabularies that have them.
const FRAMING: (u32, u32) = (2, 3);

/// A model, and cells of many genes, few and one, with a CLS and an EOS or without.
struct World {
    encoder: Encoder<Flex, PackedLinear<Flex>>,
    config: EncoderConfig,
    vocabulary: Vocabulary,
    dataset: Dataset,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(is_framed: bool) -> Self {
        Flex::seed(&FlexDevice, 8);
        let folder = tempfile::tempdir().unwrap();
        let special: &[&str] =
            if is_framed { &["<pad>", "<mask>", "<cls>", "<eos>"] } else { &["<pad>", "<mask>"] };
        let genes = (1..=N_KNOWN).map(|n| format!("ENSG{n:011}"));
        let keys = special.iter().map(|&key| key.to_owned()).chain(genes).enumerate();
        let lines: String = keys.map(|(id, key)| format!("{key}\t{id}\n")).collect();
        let path = folder.path().join("vocabulary.tsv");
        std::fs::write(&path, format!("key\ttoken_id\n{lines}")).unwrap();
        let vocabulary = Vocabulary::read_tsv(&path).unwrap();

        let path = folder.path().join("cells.dataset");
        let mut writer = DatasetWriter::create(&path, WriterOptions::default()).unwrap();
        for (i, n) in [180, 40, 2].into_iter().enumerate() {
            // 7 and the number of genes have no common divisor: no gene comes twice.
            let gene = |rank: u32| TokenId(special.len() as u32 + (rank * 7 + 3) % N_KNOWN);
            let mut tokens: Vec<TokenId> = (0..n).map(gene).collect();
            if is_framed {
                tokens = [vec![TokenId(FRAMING.0)], tokens, vec![TokenId(FRAMING.1)]].concat();
            }
            writer.push(&format!("cell-{i}"), &TokenSequence::new(tokens).unwrap(), &[]).unwrap();
        }
        writer.finish(&vocabulary, "no medians", MAX_LENGTH).unwrap();
        let config = EncoderConfig {
            vocab_size: N_KNOWN as usize + special.len(),
            hidden_size: D_MODEL,
            num_hidden_layers: 3,
            num_attention_heads: 2,
            intermediate_size: 40,
            max_position_embeddings: MAX_LENGTH,
            initializer_range: 0.3,
            ..EncoderConfig::preset(Preset::V1_10M)
        };
        let encoder = config.init_encoder::<Flex>(&FlexDevice).unwrap().pack();
        let dataset = Dataset::open(&path).unwrap();
        Self { encoder, config, vocabulary, dataset, _folder: folder }
    }

    fn cells(&self, options: &PerturbOptions) -> Vec<CellShifts> {
        let reader = CellReader::new(&self.config, &self.dataset, &self.vocabulary).unwrap();
        let mut cells = Vec::new();
        let mut take = |cell| {
            cells.push(cell);
            Ok(())
        };
        let mut go_on = |_| ControlFlow::Continue(());
        let rows = [0, 1, 2];
        run(&self.encoder, &reader, &rows, options, &FlexDevice, &mut go_on, &mut take).unwrap();
        cells
    }

    /// Options that read everything there is.
    fn options(&self) -> PerturbOptions {
        let state = |phase: f32| (0..D_MODEL).map(|i| (i as f32 + phase).sin()).collect();
        let states = [("ill".to_owned(), state(0.0)), ("well".to_owned(), state(2.0))];
        PerturbOptions {
            states: StateEmbeddings::new(states.into()).unwrap(),
            reads_genes: true,
            ..PerturbOptions::new(MAX_LENGTH)
        }
    }

    /// Genes of the large cell, in another order than there; the small ones have some.
    fn listed(&self) -> Targets {
        let tokens = self.dataset.tokens(0).unwrap();
        let genes = [150, 9, 30, 29, 120, 31, 10, 11, 160, 20];
        Targets::Each(genes.map(|rank: usize| TokenId(tokens[rank] as u32)).into())
    }
}

/// Every number of two runs over the same genes; whether any differs.
#[track_caller]
fn compare(what: &str, found: &[CellShifts], expected: &[CellShifts]) -> bool {
    let mut differs = false;
    let mut close = |place: &str, found: f64, expected: f64| {
        differs |= found != expected;
        let difference = (found - expected).abs();
        assert!(difference <= ROUNDING, "{what}, {place}: {found}, expected {expected}");
    };
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.effects.len(), expected.effects.len(), "{what}, {}", found.cell_id);
        for (found, expected) in found.effects.iter().zip(&expected.effects) {
            let place = format!("{:?}", expected.genes);
            assert_eq!(found.genes, expected.genes, "{what}");
            close(&place, found.cosine, expected.cosine);
            for (found, expected) in found.shifts.iter().zip(&expected.shifts) {
                close(&format!("{place}, shift"), *found, *expected);
            }
            assert_eq!(found.affected.len(), expected.affected.len(), "{what}, {place}");
            for ((gene, found), (other, expected)) in found.affected.iter().zip(&expected.affected)
            {
                assert_eq!(gene, other, "{what}, {place}");
                close(&format!("{place}, {gene:?}"), *found, *expected);
            }
        }
    }
    differs
}

#[test]
fn sharing_changes_nothing_beyond_rounding() {
    for is_framed in [true, false] {
        let world = World::new(is_framed);
        let readouts: &[Readout] =
            if is_framed { &[Readout::Cls, Readout::Cell] } else { &[Readout::Cell] };
        for (&readout, reads_genes, layer, targets) in readouts.iter().flat_map(|readout| {
            [
                (readout, true, EmbedLayer::SecondToLast, Targets::All),
                (readout, false, EmbedLayer::SecondToLast, Targets::All),
                (readout, false, EmbedLayer::Last, world.listed()),
            ]
        }) {
            let options =
                PerturbOptions { readout, reads_genes, layer, targets, ..world.options() };
            let what = format!("framed {is_framed}, {readout:?}, {reads_genes}, {layer:?}");
            let shared = world.cells(&options);
            let alone = world.cells(&PerturbOptions { shares_first_layer: false, ..options });
            assert!(compare(&what, &shared, &alone), "{what}: nothing was shared");
        }
    }
}

/// The last hidden state of a model of one layer is read at CLS alone.
#[test]
fn sharing_in_the_layer_that_is_read() {
    let mut world = World::new(true);
    world.encoder.layers.truncate(1);
    let options = PerturbOptions { layer: EmbedLayer::Last, reads_genes: false, ..world.options() };
    let shared = world.cells(&options);
    let alone = world.cells(&PerturbOptions { shares_first_layer: false, ..options });
    assert!(compare("one layer", &shared, &alone), "nothing was shared");
}

#[test]
fn batches_change_no_bit() {
    let world = World::new(true);
    for targets in [Targets::All, world.listed()] {
        let options = PerturbOptions { targets, ..world.options() };
        let expected = world.cells(&options);
        for (tokens_per_batch, batches_at_once) in [(1, 1), (400, 3), (1_000, 2)] {
            let options = PerturbOptions { tokens_per_batch, batches_at_once, ..options.clone() };
            let what = format!("{tokens_per_batch} tokens, {batches_at_once} batches");
            assert!(!compare(&what, &world.cells(&options), &expected), "{what}: other bits");
        }
    }
}

/// What is no deletion of single genes goes the usual way.
#[test]
fn nothing_else_is_shared() {
    let world = World::new(true);
    let gene = |rank: usize| TokenId(world.dataset.tokens(1).unwrap()[rank] as u32);
    for (edit, targets) in [
        (Edit::Overexpress, world.listed()),
        (Edit::Delete, Targets::WithAnchor(gene(4))),
        (Edit::Delete, Targets::Together(vec![gene(4), gene(9)])),
        // Too few.
        (Edit::Delete, Targets::Each(vec![gene(4), gene(9)])),
    ] {
        let options = PerturbOptions { edit, targets, ..world.options() };
        let found = world.cells(&options);
        let alone = world.cells(&PerturbOptions { shares_first_layer: false, ..options });
        assert!(!compare("not shared", &found, &alone), "something was shared");
    }
}

/// A cell of no tokens but genes, and none of those listed.
#[test]
fn a_cell_without_the_gene() {
    let world = World::new(false);
    let gene = TokenId(world.dataset.tokens(0).unwrap()[100] as u32);
    let targets = Targets::Each(vec![gene]);
    let cells = world.cells(&PerturbOptions { targets, readout: Readout::Cell, ..world.options() });
    let n_effects: Vec<usize> = cells.iter().map(|cell| cell.effects.len()).collect();
    assert_eq!(n_effects, [1, 0, 0]);
}
