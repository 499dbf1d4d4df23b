//! Whole runs over a handful of synthetic cells.

use std::{fs, ops::ControlFlow, path::Path};

use burn::tensor::Tensor;
use gf_model::checkpoint::load_masked_lm;
use gf_tokenize::{Dataset, DatasetWriter, TokenId, TokenSequence, Vocabulary, WriterOptions};
use gf_train::{Error, PretrainConfig, PretrainSummary, Progress, checkpoint, pretrain};
use tempfile::TempDir;

use crate::{Inner, TestBackend, generator_lock};

const N_CELLS: usize = 24;
/// 24 cells in batches of 5.
const STEPS_PER_EPOCH: u64 = 5;

/// Cells of two kinds, each with its own genes in a fixed order: easy to learn.
fn dataset(parent: &Path) -> Dataset {
    let genes = (1..=30).map(|i| format!("ENSG{i:011}").parse().unwrap());
    let vocabulary = Vocabulary::from_genes(genes);
    let folder = parent.join("cells.dataset");
    let mut writer = DatasetWriter::create(&folder, WriterOptions::default()).unwrap();
    for cell in 0..N_CELLS {
        let first = if cell % 2 == 0 { 4 } else { 19 };
        let n_genes = 8 + cell as u32 % 7;
        let tokens = [2].into_iter().chain(first..first + n_genes).chain([3]);
        let tokens = TokenSequence::new(tokens.map(TokenId).collect()).unwrap();
        writer.push(&format!("cell {cell}"), &tokens, &[]).unwrap();
    }
    writer.finish(&vocabulary, "none", 64).unwrap();
    Dataset::open(&folder).unwrap()
}

fn config(more: &str) -> PretrainConfig {
    PretrainConfig::from_toml(&format!(
        "[model]
         hidden_size = 16
         num_hidden_layers = 2
         num_attention_heads = 2
         max_position_embeddings = 32
         dropout = 0.1
         [training]
         batch_size = 5
         micro_batch_size = 2
         learning_rate = 0.02
         warmup_steps = 2
         {more}"
    ))
    .unwrap()
}

fn run(
    dataset: &Dataset,
    config: &PretrainConfig,
    out: &Path,
    stop_after: u64,
) -> Result<PretrainSummary, Error> {
    let mut progress = |progress: Progress| {
        if progress.step < stop_after { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    pretrain::<TestBackend>(dataset, config, out, &Default::default(), &mut progress)
}

struct Bench {
    folder: TempDir,
    dataset: Dataset,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path());
        Self { folder, dataset }
    }

    fn out(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn weights(&self, name: &str) -> Vec<u8> {
        fs::read(self.out(name).join("model/model.safetensors")).unwrap()
    }
}

#[test]
fn a_run_learns_and_leaves_its_folder() {
    let _lock = generator_lock();
    let bench = Bench::new();
    let out = bench.out("run");
    let config = config("epochs = 12\neval_fraction = 0.2");
    let summary = run(&bench.dataset, &config, &out, u64::MAX).unwrap();
    assert_eq!((summary.n_train_rows, summary.n_held_out_rows), (19, 5));
    assert_eq!((summary.steps, summary.steps_total), (12 * 4, 12 * 4));
    assert!(!summary.interrupted);

    // A model that knows nothing is at ln 34 = 3.5.
    let first = summary.first_loss.unwrap();
    let last = summary.last_epoch_loss.unwrap();
    assert!((first - 34f64.ln()).abs() < 0.2, "first loss {first}");
    assert!(last < 0.7 * first, "loss went from {first} to {last}");
    let evaluation = summary.evaluation.unwrap();
    assert!(evaluation.loss < 0.7 * first, "{evaluation:?}");
    assert!((0.0..=1.0).contains(&evaluation.accuracy));

    let log = fs::read_to_string(out.join("log.csv")).unwrap();
    assert_eq!(
        log.lines().next(),
        Some("step,epoch,loss,learning_rate,grad_norm,tokens_per_second")
    );
    assert_eq!(log.lines().count(), 1 + 12 * 4);
    let evaluations = fs::read_to_string(out.join("evaluation.csv")).unwrap();
    assert_eq!(evaluations.lines().next(), Some("step,epoch,loss,accuracy,n_predicted"));
    assert_eq!(evaluations.lines().count(), 1 + 12);
    let text = fs::read_to_string(out.join("config.toml")).unwrap();
    assert_eq!(PretrainConfig::from_toml(&text).unwrap(), config);
    let (_, model) = load_masked_lm::<Inner>(&out.join("model"), &Default::default()).unwrap();
    assert_eq!(burn::module::Module::num_params(&model), summary.n_params);
    let names: Vec<String> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(names.is_empty(), "left behind: {names:?}");
}

#[test]
fn an_interrupted_run_leaves_a_model_that_loads() {
    let _lock = generator_lock();
    let bench = Bench::new();
    let out = bench.out("run");
    let summary = run(&bench.dataset, &config("epochs = 5"), &out, STEPS_PER_EPOCH + 2).unwrap();
    assert!(summary.interrupted);
    assert_eq!((summary.steps, summary.steps_total), (STEPS_PER_EPOCH + 2, 5 * STEPS_PER_EPOCH));
    let model = out.join(checkpoint::MODEL_FOLDER);
    assert_eq!(summary.model, model);
    let (encoder, _) = load_masked_lm::<Inner>(&model, &Default::default()).unwrap();
    assert_eq!(encoder.vocab_size, 34);
    let vocabulary = Vocabulary::read_tsv(&model.join(gf_tokenize::VOCABULARY_FILE)).unwrap();
    assert_eq!(Some(&vocabulary), bench.dataset.vocabulary());
    let tokens = gf_tokenize::ModelTokens::read(&model).unwrap();
    assert_eq!(tokens, bench.dataset.manifest().map(gf_tokenize::ModelTokens::of));
    assert!(tokens.is_some(), "the model does not say by which medians");
    let state = fs::read_to_string(model.join(checkpoint::STATE_FILE)).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!((&state["step"], &state["epoch"]), (&7.into(), &2.into()));
    let log = fs::read_to_string(out.join("log.csv")).unwrap();
    assert_eq!(log.lines().count() as u64, 1 + summary.steps);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let _lock = generator_lock();
    let bench = Bench::new();
    for (name, more) in [("a", "seed = 1"), ("b", "seed = 1"), ("c", "seed = 2")] {
        // Whatever was drawn before does not matter.
        let shape = [name.len() + usize::from(name == "b")];
        let _ = Tensor::<Inner, 1>::random(
            shape,
            burn::tensor::Distribution::Default,
            &Default::default(),
        );
        run(&bench.dataset, &config(more), &bench.out(name), u64::MAX).unwrap();
    }
    assert!(bench.weights("a") == bench.weights("b"), "same seed, different weights");
    assert!(bench.weights("a") != bench.weights("c"), "different seeds, same weights");
}

#[test]
fn workers_do_not_race() {
    let _lock = generator_lock();
    let bench = Bench::new();
    let mut config = config("workers = 3\nepochs = 2");
    config.model.dropout = Some(0.0);
    for name in ["a", "b"] {
        run(&bench.dataset, &config, &bench.out(name), u64::MAX).unwrap();
    }
    assert!(bench.weights("a") == bench.weights("b"), "same seed, different weights");
}

#[test]
fn max_steps_ends_a_run() {
    let _lock = generator_lock();
    let bench = Bench::new();
    let config = config("epochs = 9\nmax_steps = 7");
    let summary = run(&bench.dataset, &config, &bench.out("run"), u64::MAX).unwrap();
    assert_eq!((summary.steps, summary.interrupted), (7, false));
}

#[test]
fn refusals() {
    fn check(result: Result<PretrainSummary, Error>, expected: &str) {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let _lock = generator_lock();
    let bench = Bench::new();
    let out = bench.out("run");
    let mut small = config("");
    small.model.max_position_embeddings = Some(9);
    check(run(&bench.dataset, &small, &out, 1), "row 0: 10 tokens, the model has 9 positions");
    let most = config("eval_fraction = 0.99");
    check(run(&bench.dataset, &most, &out, 1), "24 rows, 24 of them held out");
    let mut wild = config("schedule = 'constant'\nepochs = 20");
    wild.training.learning_rate = 1e30;
    check(run(&bench.dataset, &wild, &bench.out("wild"), u64::MAX), "expected a finite number");
    assert!(!out.exists(), "a refused run leaves nothing");
    run(&bench.dataset, &config(""), &out, 1).unwrap();
    check(run(&bench.dataset, &config(""), &out, 1), "already holds a run");

    let folder = bench.dataset.path().to_owned();
    for name in ["vocabulary.tsv", "geneformer.json"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    let bare = Dataset::open(&folder).unwrap();
    check(run(&bare, &config(""), &bench.out("bare"), 1), "no vocabulary.tsv");
}
