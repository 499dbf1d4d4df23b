//! What an encoder says of cells in five number formats, as files that
//! `docs/checks/quantised_accuracy.py` makes docs/QUANTISATION.md of.
//!
//! `cargo run --release -p gf-examples --example quantised_accuracy -- \
//!     MODEL DATASET OUTPUT N_CELLS`
//!
//! For each format FORMAT: FORMAT-cls.csv and FORMAT-cell.csv, the embeddings of all cells, and
//! FORMAT-deletions.csv, the shift of each gene's deletion in N_CELLS cells drawn at random.

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
use gf_perturb::{CellChoice, CellShifts, PerturbOptions, choose_cells, perturbation::Edit, run};
use gf_quant::{Nf4Linear, int8::Activations, nf4::Nf4, quantize_int8, quantize_nf4};
use gf_tokenize::Dataset;

/// Batches in flight, one a core of a small machine.
const BATCHES_AT_ONCE: usize = 2;
/// Of the choice of cells.
const SEED: u64 = 42;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, data, output, n_cells] = arguments.as_slice() else {
        return Err("expected MODEL DATASET OUTPUT N_CELLS".into());
    };
    let n_cells: usize = n_cells.to_string_lossy().parse()?;
    let (config, dense) = load_encoder::<Flex>(model, &FlexDevice)?;
    let dataset = Dataset::open(data)?;
    let vocabulary = dataset.vocabulary().ok_or("the data set holds no vocabulary.tsv")?;
    let reader = CellReader::new(&config, &dataset, vocabulary)?;
    fs::create_dir_all(output)?;
    let study = Study { reader, max_length: config.max_position_embeddings, n_cells, output };

    study.write("f64", &dense.clone().cast(FloatDType::F64))?;
    study.write("int8-weights", &quantize_int8(dense.clone(), Activations::Float))?;
    study.write("int8", &quantize_int8(dense.clone(), Activations::Int8))?;
    study.write("llm-int8", &quantize_int8(dense.clone(), Activations::LLM_INT8))?;
    study.write("nf4", &dense.clone().map_projections(|linear| single_nf4(&linear)))?;
    study.write("nf4-double", &quantize_nf4(dense.clone()))?;
    study.write("f32", &dense)
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
    fn write<P: Projection<Flex>>(
        &self,
        format: &str,
        encoder: &Encoder<Flex, P>,
    ) -> Result<(), Box<dyn Error>> {
        self.embed(&format!("{format}-cls.csv"), encoder, Readout::Cls)?;
        self.embed(&format!("{format}-cell.csv"), encoder, Readout::Cell)?;
        self.perturb(&format!("{format}-delete-cls.csv"), encoder, Edit::Delete, Readout::Cls)?;
        self.perturb(&format!("{format}-delete-cell.csv"), encoder, Edit::Delete, Readout::Cell)?;
        self.perturb(&format!("{format}-front-cls.csv"), encoder, Edit::Overexpress, Readout::Cls)?;
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

    fn perturb<P: Projection<Flex>>(
        &self,
        name: &str,
        encoder: &Encoder<Flex, P>,
        edit: Edit,
        readout: Readout,
    ) -> Result<(), Box<dyn Error>> {
        let options = PerturbOptions {
            edit,
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
