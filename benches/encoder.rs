//! The CLS state of one cell on the CPU: V1-10M shape, random weights, f32 against
//! int8 and 4-bit weights at three lengths.
#![allow(missing_docs)]

use std::hint::black_box;

use burn_flex::{Flex, FlexDevice};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gf_model::{Encoder, EncoderConfig, EncoderInput, Preset, Projection};
use gf_quant::{int8::Activations, quantize_int8, quantize_nf4};
use gf_tokenize::TokenBatch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LENGTHS: [usize; 3] = [256, 512, 1024];

fn input(length: usize) -> EncoderInput<Flex> {
    let tokens: Vec<i32> = (0..length as i32).map(|i| 2 + i * 7 % 20_000).collect();
    let batch = TokenBatch::new(&[&tokens], 0, &FlexDevice);
    EncoderInput::new(batch.input_ids, batch.lengths)
}

fn cls_state<P: Projection<Flex>>(c: &mut Criterion, name: &str, encoder: &Encoder<Flex, P>) {
    let mut group = c.benchmark_group(format!("cls_state/{name}"));
    group.sample_size(10);
    for length in LENGTHS {
        let input = input(length);
        group.throughput(Throughput::Elements(length as u64));
        group.bench_with_input(BenchmarkId::from_parameter(length), &input, |b, input| {
            b.iter(|| black_box(encoder.cls_state(input, encoder.n_layers() - 1).into_data()));
        });
    }
    group.finish();
}

fn bench(c: &mut Criterion) {
    let encoder = match EncoderConfig::preset(Preset::V1_10M).init_encoder::<Flex>(&FlexDevice) {
        Ok(encoder) => encoder,
        Err(error) => panic!("{error}"),
    };
    cls_state(c, "f32", &encoder.clone().pack());
    cls_state(c, "int8", &quantize_int8(encoder.clone(), Activations::Float));
    cls_state(c, "int8-dynamic", &quantize_int8(encoder.clone(), Activations::Int8));
    cls_state(c, "nf4", &quantize_nf4(encoder));
}

criterion_group!(benches, bench);
criterion_main!(benches);
