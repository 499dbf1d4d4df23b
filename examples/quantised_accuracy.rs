//! What an encoder says of cells in several number formats, as files that
//! `docs/checks/quantised_accuracy.py` makes docs/QUANTISATION.md of.
//!
//! `cargo run --release -p gf-examples --example quantised_accuracy -- \
//!     MODEL DATASET OUTPUT N_CELLS FORMAT...`
//!
//! For each format FORMAT of f32, f64, int8-weights, int8, llm-int8, nf4 and nf4-double, and both
//! read-outs, CLS and the mean of genes: FORMAT-cls.csv and FORMAT-cell.csv, the embeddings of all
//! cells, and FORMAT-deletions-cls.csv and FORMAT-deletions-cell.csv, the shift of each gene's
//! deletion in N_CELLS cells drawn at random.

use std::{
    env,
    error::Error,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use burn::{nn::Linear, tensor::FloatDType};
use burn_flex::{Flex, FlexDevice};
use gf_embed::{CellReader, EmbedOptions, Readout, embed_cells};
use gf_model::{Encoder, Projection, checkpoint::load_encoder};
use gf_perturb::{CellChoice, CellShifts, PerturbOptions, choose_cells, run};
use gf_quant::{Nf4Linear, int8::Activations, nf4::Nf4, quantize_int8, quantize_nf4};
use gf_tokenize::Dataset;

/// Batches in flight, one a core of a small machine.
const BATCHES_AT_ONCE: usize = 2;
/// Of the choice of cells.
const SEED: u64 = 42;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, data, output, n_cells, formats @ ..] = arguments.as_slice() else {
        return Err("expected MODEL DATASET OUTPUT N_CELLS FORMAT...".into());
    };
    let n_cells: usize = n_cells.to_string_lossy().parse()?;
    let (config, dense) = load_encoder::<Flex>(model, &FlexDevice)?;
    let dataset = Dataset::open(data)?;
    let vocabulary = dataset.vocabulary().ok_or("the data set holds no vocabulary.tsv")?;
    let reader = CellReader::new(&config, &dataset, vocabulary)?;
    fs::create_dir_all(output)?;
    let study = Study { reader, max_length: config.max_position_embeddings, n_cells, output };
    formats.iter().try_for_each(|format| study.run(&format.to_string_lossy(), dense.clone()))
}

/// NF4 with one f32 scale a block.
fn single_nf4(linear: &Linear<Flex>) -> Nf4Linear<Flex> {
    let [d_input, d_output] = linear.weight.dims();
    let weights: Vec<f32> = linear.weight.val().transpose().into_data().iter().collect();
    let bias = linear.bias.as_ref().map(|bias| bias.val().into_data().iter().collect());
    Nf4Linear::new(&Nf4::quantize(&weights), [d_output, d_input], bias, &FlexDevice)
}

struct Study<'a> {
    reader: CellReader<'a>,
    max_length: usize,
    n_cells: usize,
    output: &'a Path,
}

impl Study<'_> {
    fn run(&self, format: &str, dense: Encoder<Flex>) -> Result<(), Box<dyn Error>> {
        match format {
            "f32" => self.write(format, &dense.pack()),
            "f64" => self.write(format, &dense.cast(FloatDType::F64)),
            "int8-weights" => self.write(format, &quantize_int8(dense, Activations::Float)),
            "int8" => self.write(format, &quantize_int8(dense, Activations::Int8)),
            "llm-int8" => self.write(format, &quantize_int8(dense, Activations::LLM_INT8)),
            "nf4" => self.write(format, &dense.map_projections(|linear| single_nf4(&linear))),
            "nf4-double" => self.write(format, &quantize_nf4(dense)),
            other => Err(format!("found the format {other}, expected f32, f64, int8-weights, int8, llm-int8, nf4 or nf4-double").into()),
        }
    }

    fn write<P: Projection<Flex>>(
        &self,
        format: &str,
        encoder: &Encoder<Flex, P>,
    ) -> Result<(), Box<dyn Error>> {
        for (name, readout) in [("cls", Readout::Cls), ("cell", Readout::Cell)] {
            self.embed(&format!("{format}-{name}.csv"), encoder, readout)?;
            self.delete(&format!("{format}-deletions-{name}.csv"), encoder, readout)?;
        }
        println!("{format}: {}", self.output.display());
        Ok(())
    }

    fn embed<P: Projection<Flex>>(
        &self,
        name: &str,
        encoder: &Encoder<Flex, P>,
        readout: Readout,
    ) -> Result<(), Box<dyn Error>> {
        let options =
            EmbedOptions { readout, batches_at_once: BATCHES_AT_ONCE, ..EmbedOptions::default() };
        let rows: Vec<usize> = (0..self.reader.dataset().len()).collect();
        let mut go_on = |_| ControlFlow::Continue(());
        let table = embed_cells(encoder, &self.reader, &rows, &options, &FlexDevice, &mut go_on)?;
        Ok(table.write_csv(&self.output.join(name))?)
    }

    fn delete<P: Projection<Flex>>(
        &self,
        name: &str,
        encoder: &Encoder<Flex, P>,
        readout: Readout,
    ) -> Result<(), Box<dyn Error>> {
        let options = PerturbOptions {
            readout,
            batches_at_once: BATCHES_AT_ONCE,
            ..PerturbOptions::new(self.max_length)
        };
        let choice = CellChoice { filters: Vec::new(), max_cells: Some(self.n_cells), seed: SEED };
        let rows = choose_cells(self.reader.dataset(), &choice)?;
        let mut go_on = |_| ControlFlow::Continue(());
        let mut lines = String::from("cell_id,token,shift\n");
        let mut take = |cell: CellShifts| {
            for effect in &cell.effects {
                let (token, shift) = (effect.genes[0].0, 1.0 - effect.cosine);
                lines += &format!("{},{token},{shift:e}\n", cell.cell_id);
            }
            Ok(())
        };
        run(encoder, &self.reader, &rows, &options, &FlexDevice, &mut go_on, &mut take)?;
        Ok(fs::write(self.output.join(name), lines)?)
    }
}
