//! `gf pretrain`

use std::path::PathBuf;

use burn::{backend::Autodiff, tensor::backend::Backend};
use clap::Args;
use gf_tokenize::Dataset;
use gf_train::{PretrainConfig, Progress, pretrain};

use crate::{args::Common, device::Job, failure::Failure, render, shell::Shell};

/// Arguments of `gf pretrain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gf pretrain --config small.toml --data cells.dataset -o pretrain\n\n\
    Ctrl-C leaves a model that loads; the run folder's log.csv has one line per step.\n\n\
    Keys of the configuration, all optional:\n  \
    [model]     preset, or hidden_size, num_hidden_layers, num_attention_heads,\n              \
    intermediate_size; max_position_embeddings, dropout\n  \
    [training]  epochs, max_steps, batch_size, micro_batch_size, workers, learning_rate,\n              \
    schedule, warmup_steps or warmup_ratio, weight_decay, max_grad_norm,\n              \
    mask_probability, mask_special_tokens, eval_fraction, seed\n\n\
    examples/data/demo.toml in the repository is one."
)]
pub struct PretrainArgs {
    /// Shape of the model and hyper-parameters (TOML).
    #[arg(long, value_name = "TOML")]
    config: PathBuf,
    /// Data set of tokens.
    #[arg(long, value_name = "DATASET")]
    data: PathBuf,
    /// Run folder to write; the model is in its folder `model`.
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,
}

/// Pretrains and says how it went.
pub fn run(args: &PretrainArgs, common: &Common, shell: &Shell) -> Result<(), Failure> {
    let mut config = PretrainConfig::read(&args.config)?;
    if let Some(seed) = common.seed {
        config.training.seed = seed;
    }
    let dataset = Dataset::open(&args.data)?;
    common.device.run(Pretraining { args, config, dataset, shell })
}

struct Pretraining<'a> {
    args: &'a PretrainArgs,
    config: PretrainConfig,
    dataset: Dataset,
    shell: &'a Shell,
}

impl Job for Pretraining<'_> {
    fn run<B: Backend>(self, device: &B::Device) -> Result<(), Failure> {
        let mut meter = self.shell.progress("pretraining", "steps");
        let summary = pretrain::<Autodiff<B>>(
            &self.dataset,
            &self.config,
            &self.args.output,
            device,
            &mut |p: Progress| {
                let message = format!("loss {:.3}, {:.0} tokens/s", p.loss, p.tokens_per_second);
                meter.update(p.step, p.steps_total, &message)
            },
        )?;
        self.shell.say(render::pretrained(&summary))?;
        self.shell.summary(&summary)?;
        if summary.interrupted {
            let (steps, total) = (summary.steps, summary.steps_total);
            let model = summary.model.display();
            return Err(Failure::Interrupted(format!(
                "after step {steps} of {total}; {model} holds the model"
            )));
        }
        Ok(())
    }
}
