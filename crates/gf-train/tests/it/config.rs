//! The configuration file: defaults, refusals, learning rates.

use gf_model::{EncoderConfig, Preset};
use gf_tokenize::Vocabulary;
use gf_train::{Decay, PretrainConfig, Schedule};

fn parse(text: &str) -> PretrainConfig {
    PretrainConfig::from_toml(text).unwrap()
}

/// An empty file trains V2-104M as the paper did.
#[test]
fn defaults_are_the_papers() {
    let config = parse("").check().unwrap();
    let genes = ["ENSG00000000003", "ENSG00000000005"].map(|id| id.parse().unwrap());
    let expected = EncoderConfig {
        vocab_size: 6,
        hidden_dropout_prob: 0.02,
        attention_probs_dropout_prob: 0.02,
        ..EncoderConfig::preset(Preset::V2_104M)
    };
    assert_eq!(config.encoder(&Vocabulary::from_genes(genes)), expected);
    // 240,458 batches of 432 an epoch, three epochs, 0.7 % warm-up rounded up.
    let schedule = config.schedule(103_877_737);
    let expected =
        Schedule { peak: 2e-4, decay: Decay::Cosine, warmup_steps: 5_050, total_steps: 721_374 };
    assert_eq!(schedule, expected);
}

#[test]
fn a_configuration_survives_its_file() {
    let config =
        parse("[model]\npreset = 'v1-10m'\n[training]\nmax_grad_norm = inf\nmax_steps = 3");
    assert_eq!(parse(&toml::to_string(&config).unwrap()), config);
    assert_eq!(config.check().unwrap().schedule(1_000_000).total_steps, 3);
}

#[test]
fn refusals_name_the_key() {
    fn check(text: &str, expected: &str) {
        let error = match PretrainConfig::from_toml(text) {
            Ok(config) => config.check().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    check("[training]\nepoch = 3", "unknown field `epoch`");
    check("[training]\nepochs = -3", "epochs");
    check("[training]\nepochs = 0", "training.epochs is 0, expected at least 1");
    check("[training]\nschedule = 'step'", "unknown variant `step`");
    check("[training]\nmax_steps = 0", "training.max_steps is 0");
    check("[training]\nbatch_size = 0", "training.batch_size is 0");
    check("[training]\nmicro_batch_size = 0", "training.micro_batch_size is 0");
    check("[training]\nworkers = 0", "training.workers is 0, expected at least 1");
    check("[training]\nworkers = 2", "training.workers is 2, expected 1, or model.dropout 0");
    check("[training]\nlearning_rate = 0.0", "training.learning_rate is 0, expected above 0");
    check("[training]\nlearning_rate = nan", "training.learning_rate is NaN");
    check("[training]\nweight_decay = -1.0", "training.weight_decay is -1");
    check("[training]\nmax_grad_norm = 0.0", "training.max_grad_norm is 0");
    check("[training]\nmask_probability = 1.5", "training.mask_probability is 1.5");
    check("[training]\neval_fraction = 1.0", "training.eval_fraction is 1");
    check("[training]\nwarmup_ratio = 1.0", "training.warmup_ratio is 1");
    check("[training]\nwarmup_ratio = 0.1\nwarmup_steps = 3", "training.warmup_ratio is 0.1");
    check("[model]\npreset = 'bert'", "\"bert\"");
    check(
        "[model]\npreset = 'v1-10m'\nhidden_size = 64",
        "model.hidden_size is given beside preset",
    );
    check("[model]\nhidden_size = 64", "model.num_hidden_layers is absent");
    check(
        "[model]\nhidden_size = 64\nnum_hidden_layers = 2\nnum_attention_heads = 3",
        "num_attention_heads",
    );
    check("[model]\ndropout = 1.0", "hidden_dropout_prob is 1");
}

/// Learning rates of transformers' schedules (shared/golden/train/lr_tables.json, A4),
/// three steps past the end included.
#[test]
fn learning_rates_are_those_of_transformers() {
    /// Both sides are a handful of f64 operations.
    const TOLERANCE: f64 = 1e-12;
    let Some(golden) = crate::golden_folder() else { return };
    let text = std::fs::read_to_string(golden.join("train/lr_tables.json")).unwrap();
    let tables: std::collections::BTreeMap<String, Vec<f64>> = serde_json::from_str(&text).unwrap();
    let mut n_checked = 0;
    for (name, rates) in &tables {
        let Some(schedule) = named_schedule(name) else { continue };
        for (step, &expected) in rates.iter().enumerate() {
            let found = schedule.at(step as u64);
            let difference = (found - expected).abs();
            assert!(
                difference <= TOLERANCE * expected.abs(),
                "{name} step {step}: {found}, expected {expected}, difference {difference}"
            );
            n_checked += 1;
        }
    }
    assert_eq!(n_checked, 3 * (103 + 43 + 1003));
}

/// `cosine_w4_t100_lr0.0002` and the like; schedules we do not offer are `None`.
fn named_schedule(name: &str) -> Option<Schedule> {
    let parts: Vec<&str> = name.split('_').collect();
    let [decay, warmup, total, peak] = parts.as_slice() else { return None };
    let decay = match *decay {
        "cosine" => Decay::Cosine,
        "linear" => Decay::Linear,
        "constant" => Decay::Constant,
        _ => return None,
    };
    Some(Schedule {
        peak: peak.strip_prefix("lr")?.parse().ok()?,
        decay,
        warmup_steps: warmup.strip_prefix('w')?.parse().ok()?,
        total_steps: total.strip_prefix('t')?.parse().ok()?,
    })
}
