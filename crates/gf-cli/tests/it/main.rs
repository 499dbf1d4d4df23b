//! The binary as a user runs it: the whole path, exit codes, what is left behind.
#![allow(clippy::unwrap_used, missing_docs)]

mod download;
mod embed;
mod failures;
mod help;
mod interrupt;
mod path;
mod run;
