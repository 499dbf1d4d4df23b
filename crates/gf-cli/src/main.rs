//! `gf`: single-cell counts to ranked gene effects, from the command line.
//!
//! Arguments are parsed here and in each command; the work is done by the
//! libraries; this binary alone names devices and prints.

// Doc comments of arguments are help texts: `wgpu[:N]` is no link, `<cls>` no HTML.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

mod args;
mod commands;
mod device;
mod drawing;
mod failure;
mod memory;
mod model_folder;
mod outputs;
mod render;
mod report;
mod shell;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Cli, shell::Shell};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let shell = Shell::new(&cli.common);
    match commands::run(&cli, &shell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
