//! What a model folder needs in memory: one cell through the encoder, or one QLoRA step.
//!
//! `cargo run --release -p gf-quant --example quantised_memory -- FOLDER MODE TOKENS`
//! with MODE f32, int8, nf4 or qlora. For int8 and nf4 the folder may be one that
//! `gf quantize` wrote, or a dense one, whose projections are then quantised one by one.
//! On Linux the peak of the whole process is printed.

use std::{env, error::Error, fs, path::Path, time::Instant};

use burn::{
    backend::Autodiff,
    nn::{Linear, LinearConfig},
    optim::{AdamWConfig, GradientsParams, Optimizer},
    tensor::{Int, Tensor, activation::log_softmax, backend::Backend},
};
use burn_flex::{Flex, FlexDevice};
use gf_model::{Encoder, EncoderInput, Projection, checkpoint::load_encoder};
use gf_quant::{
    checkpoint::{load_int8_encoder, load_nf4_encoder},
    int8::Activations,
    lora::{LoraAdapter, LoraConfig, attach, with_adapters},
    recompute::loss_and_gradients,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [folder, mode, n_tokens] = args.as_slice() else {
        return Err(
            "expected FOLDER, a mode f32, int8, nf4 or qlora, and a number of tokens".into()
        );
    };
    let (folder, n_tokens) = (Path::new(folder), n_tokens.parse()?);
    match mode.as_str() {
        "f32" => forward(load_encoder::<Flex>(folder, &FlexDevice)?.1, n_tokens),
        "int8" => {
            let mode = Activations::Float;
            forward(load_int8_encoder::<Flex>(folder, mode, &FlexDevice)?.1, n_tokens)
        }
        "nf4" => forward(load_nf4_encoder::<Flex>(folder, &FlexDevice)?.1, n_tokens),
        "qlora" => qlora_step(folder, n_tokens)?,
        other => return Err(format!("found {other}, expected f32, int8, nf4 or qlora").into()),
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    }
    Ok(())
}

fn cell<B: Backend>(n_tokens: usize) -> EncoderInput<B> {
    let tokens: Vec<i32> = (0..n_tokens as i32).map(|i| 2 + i * 7 % 20_000).collect();
    EncoderInput::from_rows(&[&tokens], 0, &B::Device::default())
}

fn forward<P: Projection<Flex>>(encoder: Encoder<Flex, P>, n_tokens: usize) {
    let start = Instant::now();
    let state = encoder.cls_state(&cell(n_tokens), encoder.n_layers());
    let first: f32 = state.narrow(1, 0, 1).into_scalar();
    let seconds = start.elapsed().as_secs_f64();
    println!("{n_tokens} tokens in {seconds:.1} s, the CLS state begins with {first:.4}");
}

/// One step of a gene task of two classes with the paper's adapter, r 128 and α 256.
fn qlora_step(folder: &Path, n_tokens: usize) -> Result<(), Box<dyn Error>> {
    type Ad = Autodiff<Flex>;
    let (config, encoder) = load_nf4_encoder::<Ad>(folder, &FlexDevice)?;
    let mut encoder = with_adapters(encoder);
    let adapter = LoraAdapter::init(LoraConfig::gene_task(), &config, &FlexDevice)?;
    attach(&mut encoder, &adapter);
    let classifier: Linear<Ad> = LinearConfig::new(config.hidden_size, 2).init(&FlexDevice);
    let labels: Vec<i32> = (0..n_tokens as i32).map(|i| i % 2).collect();
    let labels = Tensor::<Ad, 1, Int>::from_data(labels.as_slice(), &FlexDevice);
    let start = Instant::now();
    let step = loss_and_gradients(&encoder, &cell(n_tokens), 42, |hidden| {
        let logits = classifier.forward(hidden.flatten::<2>(0, 1));
        -log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)).mean()
    });
    let mut optimizer = AdamWConfig::new().init::<Ad, _>();
    let encoder = optimizer.step(5e-4, encoder, step.encoder);
    let head_gradients = GradientsParams::from_grads(step.above, &classifier);
    let classifier = AdamWConfig::new().init::<Ad, _>().step(5e-4, classifier, head_gradients);
    let loss: f32 = step.loss.into_scalar();
    let seconds = start.elapsed().as_secs_f64();
    println!("QLoRA step of {n_tokens} tokens in {seconds:.1} s, loss {loss:.3}");
    drop((encoder, classifier));
    Ok(())
}
