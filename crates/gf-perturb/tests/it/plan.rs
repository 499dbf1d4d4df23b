//! The paper's table of what a genome-wide run takes.

use gf_embed::{CellReader, Readout};
use gf_model::{EncoderConfig, Preset};
use gf_perturb::{
    PerturbOptions,
    plan::{Cost, PassShape, Plan, tokens_at_once},
};
use gf_tokenize::{Dataset, DatasetWriter, TokenId, TokenSequence, Vocabulary, WriterOptions};

/// Genes of the vocabulary of V2 models.
const N_KNOWN: u32 = 20_271;
/// Theodoris et al.: 30,000 cells of 4,096 genes each.
const N_CELLS: usize = 30_000;
const N_GENES: u32 = 4_096;
const N_PASSES: u64 = 122_910_000;
/// Sums of f64 in another order.
const ROUNDING: f64 = 1e-12;

/// CLS and EOS of V2 models.
const FRAMING: [TokenId; 2] = [TokenId(2), TokenId(3)];

/// The plan of one cell with 4,096 genes as often as in the paper.
fn paper(options: &PerturbOptions) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.dataset");
    let vocabulary =
        Vocabulary::from_genes((1..=N_KNOWN).map(|n| format!("ENSG{n:011}").parse().unwrap()));
    let mut writer = DatasetWriter::create(&path, WriterOptions::default()).unwrap();
    let first = vocabulary.len() as u32 - N_GENES;
    let genes: Vec<TokenId> = (first..first + N_GENES).map(TokenId).collect();
    let tokens = [&FRAMING[..1], &genes, &FRAMING[1..]].concat();
    writer.push("cell", &TokenSequence::new(tokens).unwrap(), &[]).unwrap();
    writer.finish(&vocabulary, "no medians", N_GENES as usize + 2).unwrap();
    let dataset = Dataset::open(&path).unwrap();
    let config = config();
    let reader = CellReader::new(&config, &dataset, &vocabulary).unwrap();
    let cell = Plan::new(&reader, &[0], options).unwrap().cells.remove(0);
    Plan { cells: vec![cell; N_CELLS] }
}

fn config() -> EncoderConfig {
    EncoderConfig { max_position_embeddings: 4_098, ..EncoderConfig::preset(Preset::V2_316M) }
}

#[test]
fn the_paper_s_table() {
    let options = PerturbOptions { readout: Readout::Cell, ..PerturbOptions::new(4_098) };
    let plan = paper(&options);
    assert_eq!(plan.n_passes(), N_PASSES);
    assert_eq!((plan.n_variants(), plan.longest()), (N_PASSES - N_CELLS as u64, 4_098));

    // By hand: 17 layers of 1,152 × 4,608; deletions have a token less.
    let shape = PassShape::new(&config(), &options).unwrap();
    let pass = |n: f64| 17.0 * n * (8.0 * 1_152.0_f64.powi(2) + 4.0 * 1_152.0 * (4_608.0 + n));
    let expected = N_CELLS as f64 * (pass(4_098.0) + 4_096.0 * pass(4_097.0));
    let found = plan.operations(&shape);
    assert!((found / expected - 1.0).abs() <= ROUNDING, "{found}, expected {expected}");

    // One pass in 30 ms on each of 12 devices.
    let cost = Cost::new(0.03 * N_PASSES as f64, 12.try_into().unwrap(), Some(2.0));
    assert_eq!(cost.seconds, 0.03 * N_PASSES as f64 / 12.0);
    assert_eq!(cost.price, Some(2.0 * 0.03 * N_PASSES as f64 / 3_600.0));
}

#[test]
fn memory_grows_with_what_is_computed_at_once() {
    let options = PerturbOptions { batches_at_once: 3, ..PerturbOptions::new(4_096) };
    let shape = PassShape { d_model: 10, d_ff: 20, n_layers: 2, cls_alone: true };
    // 32-bit numbers, ten widths and the feed-forward's of each token.
    assert_eq!(shape.activation_bytes(tokens_at_once(&options, 100)), 4 * 3 * 4_096 * 120);
    assert_eq!(tokens_at_once(&options, 5_000), 15_000);
}
