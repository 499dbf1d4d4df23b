//! How fast this processor runs an encoder: tokens per second, and the share of the
//! rate at which it multiplies matrices.
//!
//! `cargo run --release -p gf-examples --example encoder_speed -- v2-104m 2048 [BATCH]`

use std::{env, error::Error, hint::black_box, time::Instant};

use burn::tensor::{Distribution, Tensor};
use burn_flex::{Flex, FlexDevice};
use gf_model::{Encoder, EncoderConfig, EncoderInput, Projection};
use gf_quant::{int8::Activations, quantize_int8};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of each measurement after one that warms up.
const N_RUNS: u32 = 3;

/// `mi_option_purge_delay` of mimalloc 3: freed memory is kept, as `gf` keeps it.
const PURGE_DELAY: i32 = 15;

fn main() -> Result<(), Box<dyn Error>> {
    // SAFETY: options may be set at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (preset, length, batch) = match arguments.as_slice() {
        [preset, length] => (preset, length, "1"),
        [preset, length, batch] => (preset, length, batch.as_str()),
        _ => return Err("expected PRESET TOKENS [BATCH], as v2-104m 2048 1".into()),
    };
    let config = EncoderConfig::preset(preset.parse()?);
    let (length, batch) = (length.parse()?, batch.parse()?);
    let encoder = config.init_encoder::<Flex>(&FlexDevice)?;
    let work = Work { config, length, batch };
    println!("matrix product: {:.0} GFLOP per CPU second", work.product_rate());
    work.report("f32", &encoder.clone().pack());
    work.report("int8", &quantize_int8(encoder.clone(), Activations::Int8));
    work.report("llm-int8", &quantize_int8(encoder, Activations::LLM_INT8));
    Ok(())
}

struct Work {
    config: EncoderConfig,
    length: usize,
    batch: usize,
}

impl Work {
    /// Operations of all layers: projections and attention.
    fn flop(&self) -> f64 {
        let EncoderConfig { hidden_size: d, intermediate_size: d_ff, num_hidden_layers, .. } =
            self.config;
        let token = 8 * d * d + 4 * d * d_ff + 4 * self.length * d;
        (self.batch * self.length * num_hidden_layers * token) as f64
    }

    fn report<P: Projection<Flex>>(&self, name: &str, encoder: &Encoder<Flex, P>) {
        let row: Vec<i32> = (0..self.length as i32).map(|i| 4 + i * 7 % 20_000).collect();
        let rows = vec![row.as_slice(); self.batch];
        let input = EncoderInput::from_rows(&rows, 0, &FlexDevice);
        let (wall, cpu) = clock(|| {
            black_box(encoder.hidden_state(&input, encoder.n_layers()).into_data());
        });
        let n_tokens = (self.batch * self.length) as f64;
        println!(
            "{name}: {:.0} tokens/s wall, {:.0} per CPU-second, {:.0} GFLOP per CPU second",
            n_tokens / wall,
            n_tokens / cpu,
            self.flop() / cpu / 1e9,
        );
    }

    /// GFLOP per CPU second of the projections' shapes through Burn's matrix product.
    fn product_rate(&self) -> f64 {
        let (d, d_ff) = (self.config.hidden_size, self.config.intermediate_size);
        let random = |shape: [usize; 2]| {
            Tensor::<Flex, 2>::random(shape, Distribution::Default, &FlexDevice)
        };
        let n_tokens = self.batch * self.length;
        let x = random([n_tokens, d]);
        let (up, down) = (random([d, d_ff]), random([d_ff, d]));
        let (_, cpu) = clock(|| {
            black_box(x.clone().matmul(up.clone()).matmul(down.clone()).into_data());
        });
        4.0 * (n_tokens * d * d_ff) as f64 / cpu / 1e9
    }
}

/// Wall and CPU seconds of one run, the mean of a few.
fn clock(run: impl Fn()) -> (f64, f64) {
    run();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    for _ in 0..N_RUNS {
        run();
    }
    let runs = f64::from(N_RUNS);
    (start.elapsed().as_secs_f64() / runs, (cpu_seconds() - cpu) / runs)
}

/// User and system time of this process, of all its threads.
fn cpu_seconds() -> f64 {
    cpu_time::ProcessTime::try_now().map_or(f64::NAN, |time| time.as_duration().as_secs_f64())
}
