//! `gf stats --mode mixture-model --singles`: a run of pairs with an anchor beside one of
//! single genes.

use std::path::Path;

use gf_perturb::{
    output::{self, GeneNames},
    stats::Combinations,
    store::ShardReader,
};

use super::{Mode, StatsArgs};
use crate::{failure::Failure, render, shell::Shell};

/// Sets pairs against the sums of their genes.
pub fn run(
    args: &StatsArgs,
    singles: &Path,
    names: &GeneNames<'_>,
    shell: &Shell,
) -> Result<(), Failure> {
    if args.mode != Mode::MixtureModel {
        return Err(Failure::Usage("found --singles, expected --mode mixture-model".to_owned()));
    }
    let combinations = read(&args.results, singles)?;
    let (rows, n_left_out) = (combinations.finish()?, combinations.n_left_out);
    output::write_combinations(&args.output, &rows, names)?;
    shell.say(format!("{} pairs in {}", rows.len(), args.output.display()))?;
    if n_left_out > 0 {
        let n = render::thousands(n_left_out);
        shell.say(format!("left out: {n} pairs in cells where --singles lacks a gene of them"))?;
    }
    shell.summary(&serde_json::json!({
        "table": args.output, "pairs": rows.len(), "left_out": n_left_out,
    }))
}

/// Reads both runs, cell by cell.
fn read(pairs: &Path, singles: &Path) -> Result<Combinations, Failure> {
    let readers = [pairs, singles].map(ShardReader::open);
    let [mut of_pairs, mut of_singles] = match readers {
        [Ok(pairs), Ok(singles)] => [pairs, singles],
        [Err(error), _] | [_, Err(error)] => return Err(error.into()),
    };
    if conditions(&of_pairs) != conditions(&of_singles) {
        let message = format!(
            "{}: found a run of other cells, another model or other options than {}, expected one \
             that differs in its genes alone",
            singles.display(),
            pairs.display()
        );
        return Err(Failure::Error(message.into()));
    }
    let mut combinations = Combinations::default();
    while let (Some(pairs), Some(singles)) = (of_pairs.next(), of_singles.next()) {
        combinations.add(&pairs?, &singles?);
    }
    Ok(combinations)
}

/// What a run was made with, but for its genes.
fn conditions(reader: &ShardReader) -> (Option<serde_json::Value>, (usize, usize), usize) {
    let key = reader.key();
    let mut settings: Option<serde_json::Value> = serde_json::from_str(&key.settings).ok();
    if let Some(settings) = settings.as_mut().and_then(|settings| settings.as_object_mut()) {
        settings.remove("targets");
    }
    (settings, key.shard, key.n_cells)
}
