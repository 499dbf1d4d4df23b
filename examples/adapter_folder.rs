//! A low-rank adapter over a model folder, dense or of `gf quantize --to nf4`, saved for PEFT:
//! `docs/checks/open_adapter.py` opens what it writes and computes the same.
//!
//! `cargo run --release -p gf-examples --example adapter_folder -- MODEL OUTPUT`
//!
//! Writes the folder OUTPUT/adapter and OUTPUT/states.csv, the last hidden state of each token
//! of one row. The adapter's `B`, zero before training, is drawn at random.

use std::{env, error::Error, fmt::Write, fs, path::Path, path::PathBuf};

use burn::tensor::{Distribution, Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use gf_model::{Encoder, EncoderConfig, EncoderInput, Projection, checkpoint::load_encoder};
use gf_quant::{
    checkpoint::{load_nf4_encoder, stored_format},
    lora::{
        LoraAdapter, LoraConfig, LowRank, Target, attach,
        peft::{self, PeftExtras},
        with_adapters,
    },
};

/// Ids of the row, which the check knows as well.
const TOKENS: [i32; 8] = [2, 11, 25, 7, 100, 40, 9, 3];
/// Size of the entries of `B`, large enough that the adapter matters.
const SCALE: f64 = 0.2;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, output] = arguments.as_slice() else {
        return Err("expected MODEL OUTPUT".into());
    };
    Flex::seed(&FlexDevice, 3);
    match stored_format(model)? {
        None => {
            let (config, encoder) = load_encoder(model, &FlexDevice)?;
            adapt(encoder, &config, model, output)
        }
        Some(_) => {
            let (config, encoder) = load_nf4_encoder(model, &FlexDevice)?;
            adapt(encoder, &config, model, output)
        }
    }
}

fn adapt<P: Projection<Flex>>(
    encoder: Encoder<Flex, P>,
    config: &EncoderConfig,
    model: &Path,
    output: &Path,
) -> Result<(), Box<dyn Error>> {
    let lora = LoraConfig { targets: Target::ALL.into(), ..LoraConfig::cell_task() };
    let mut adapter = LoraAdapter::<Flex>::init(lora.clone(), config, &FlexDevice)?;
    for pair in adapter.pairs.values_mut() {
        let b = Tensor::random(pair.b.dims(), Distribution::Normal(0.0, SCALE), &FlexDevice);
        *pair = LowRank::new(pair.a.val(), b, &lora);
    }
    let base_model = Some(model.display().to_string());
    let extras = PeftExtras { base_model, ..PeftExtras::default() };
    peft::write_folder(&output.join("adapter"), &adapter, &extras)?;

    let mut encoder = with_adapters(encoder);
    let (adapter, _) = peft::read::<Flex>(&output.join("adapter"), &FlexDevice)?;
    adapter.check(config)?;
    attach(&mut encoder, &adapter);
    let input = EncoderInput::from_rows(&[&TOKENS], config.pad_token_id, &FlexDevice);
    let states = encoder.hidden_state(&input, encoder.n_layers());
    let [_, _, d_model] = states.dims();
    let values: Vec<f32> = states.into_data().iter().collect();
    let mut lines = String::new();
    for row in values.chunks(d_model) {
        let row: Vec<String> = row.iter().map(f32::to_string).collect();
        writeln!(lines, "{}", row.join(","))?;
    }
    Ok(fs::write(output.join("states.csv"), lines)?)
}
