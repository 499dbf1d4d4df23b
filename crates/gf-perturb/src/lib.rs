//! **gf-perturb** asks what happens to a cell when a gene is taken away.
//!
//! A [`deletion`](perturbation::delete) is a pure edit of a cell's tokens. [`run`]
//! deletes each gene of each chosen cell in turn, reads the CLS embedding again and
//! gives the cosine to the cell's own embedding ([`CellShifts`]). [`rank`] gathers
//! these by gene: its effect is the mean over cells of `1 − cosine`.
//!
//! All variants of a cell have one length, so no batch is padded; nothing above the
//! layer that is read is computed, and in that layer only the CLS row.
//!
//! ```
//! use gf_perturb::perturbation::delete;
//!
//! // <cls>, three genes in order of their rank, <eos>: the second gene is deleted.
//! assert_eq!(delete(&[2, 71, 44, 93, 3], 2), [2, 71, 93, 3]);
//! ```
//!
//! This crate must never know how weights are quantised or trained.

pub mod perturbation;

mod plan;
mod run;
mod shift;

pub mod output;

mod error;

pub use error::Error;
pub use plan::{CellChoice, choose_cells};
pub use run::{PerturbOptions, Progress, count_passes, run};
pub use shift::{CellShifts, GeneEffect, rank};
