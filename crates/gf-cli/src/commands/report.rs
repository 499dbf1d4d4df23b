//! `gf report`

use std::path::PathBuf;

use clap::Args;

use crate::{
    failure::Failure,
    outputs::claim_file,
    report::{ReportInput, write_report},
    shell::Shell,
};

/// Arguments of `gf report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gf report target/demo -o report.html\n  gf report perturb -o perturb.html\n\n\
    What the folder does not hold is left out of the page."
)]
pub struct ReportArgs {
    /// Folder of results: corpus/, *.dataset/, pretrain/log.csv, embeddings.csv,
    /// perturb/, commands.txt; or the run folder of gf perturb, where tables of gf stats
    /// are drawn that lie in it as .csv.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Page to write; it needs no network and nothing beside it.
    #[arg(short, long, value_name = "HTML")]
    output: PathBuf,
    /// Heading of the page.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Metadata column of the data set that colours the map of the cells; marker
    /// genes do without one.
    #[arg(long, value_name = "COLUMN")]
    colour_by: Option<String>,
}

/// Writes the page.
pub fn run(args: &ReportArgs, shell: &Shell) -> Result<(), Failure> {
    claim_file(&args.output)?;
    let input = ReportInput {
        title: args.title.clone(),
        colour_by: args.colour_by.clone(),
        ..ReportInput::from_run(&args.folder)?
    };
    let missing = input.missing();
    if missing.len() == ReportInput::PARTS.len() {
        let (folder, parts) = (args.folder.display(), missing.join(", "));
        return Err(Failure::Error(format!("{folder}: found none of {parts}").into()));
    }
    write_report(&input, &args.output)?;
    if !missing.is_empty() {
        shell.say(format!("left out, not in the folder: {}", missing.join(", ")))?;
    }
    shell.say(args.output.display())?;
    shell.summary(&serde_json::json!({ "report": args.output, "left_out": missing }))
}
