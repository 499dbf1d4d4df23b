#![allow(missing_docs, clippy::unwrap_used)]
use std::time::Instant;
use burn::{backend::Autodiff, optim::GradientsParams, tensor::{Tensor}};
use burn_flex::Flex;
use gf_model::{EncoderConfig, Preset};
use gf_train::*;
use rand::SeedableRng;
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
type B = Autodiff<Flex>;
fn cpu() -> f64 { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect(); (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0 }
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let [layers, hidden, heads, ffn, vocab, batch, length] = a[..7] else { panic!() };
    let drop = a.get(7).copied().unwrap_or(2) as f64 / 100.0;
    let device = Default::default();
    let config = EncoderConfig { vocab_size: vocab, hidden_size: hidden, num_hidden_layers: layers, num_attention_heads: heads, intermediate_size: ffn, hidden_dropout_prob: drop, attention_probs_dropout_prob: drop, ..EncoderConfig::preset(Preset::V2_104M) };
    let mut model = config.init_masked_lm::<B>(&device).unwrap();
    let mut optimizer = Optimizer::new(0.044, 1.0);
    let masking = Masking { probability: 0.15, mask_token: 1, vocab_size: vocab, never_selected: vec![] };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let rows: Vec<_> = (0..batch).map(|i| { let t: Vec<i32> = (0..length - i * length / 100).map(|p| (4 + (p * 7919 + i * 31) % (vocab - 4)) as i32).collect(); masking.mask(&t, &mut rng) }).collect();
    let b = MaskedBatch::<B>::new(&rows, 0, &device);
    let n = b.n_predicted();
    let steps: usize = std::env::var("STEPS").map_or(4, |s| s.parse().unwrap());
    let mut c0 = cpu();
    for step in 0..steps {
        let t0 = Instant::now();
        let r = train_step(&mut model, &mut optimizer, 1e-4, [b.clone()], n);
        let t = t0.elapsed().as_secs_f64();
        let c = cpu() - c0; c0 = cpu();
        println!("step {step}: {t:.3} s, cpu {c:.2} s, {:.0} tokens/s, loss {:.4} norm {:.4}", r.n_tokens as f64 / t, r.loss, r.grad_norm);
    }
    for _ in 0..2 {
    let t0 = Instant::now();
    let hidden_state = model.encoder.hidden_state(&b.input, layers - 1);
    let _ = hidden_state.clone().inner().into_data();
    println!("forward below top {:.3}", t0.elapsed().as_secs_f64());
    let t0 = Instant::now();
    let logits = predict(&model, &b);
    let _ = logits.clone().inner().into_data();
    println!("forward to logits {:.3} (incl. copy of logits)", t0.elapsed().as_secs_f64());
    let t0 = Instant::now();
    let loss: Tensor<B, 1> = burn::tensor::activation::log_softmax(logits, 1).gather(1, b.labels.clone().unsqueeze_dim(1)).sum().neg();
    let _ = loss.clone().inner().into_data();
    println!("loss {:.3}", t0.elapsed().as_secs_f64());
    let t0 = Instant::now();
    let grads = loss.backward();
    println!("backward {:.3}", t0.elapsed().as_secs_f64());
    let grads = GradientsParams::from_grads(grads, &model);
    let t0 = Instant::now();
    let (m, _) = optimizer.step(1e-4, model.clone(), grads);
    model = m;
    println!("optimizer {:.3}", t0.elapsed().as_secs_f64());
    }
}
