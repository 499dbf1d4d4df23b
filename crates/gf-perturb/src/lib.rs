//! **gf-perturb** asks what happens to a cell when genes are taken away or put first.
//!
//! An [`Edit`](perturbation::Edit) is a pure edit of a cell's tokens. [`run`] makes the
//! edited cells of each chosen cell, reads them again and gives, cell by cell, cosines to
//! the cell before and shifts toward states ([`CellShifts`]). A
//! [`ShardWriter`](store::ShardWriter) keeps them in one file that a killed run goes on
//! with. [`rank`] gathers them by gene: its effect is the mean over cells of
//! `1 − cosine`. [`stats`] has the reference's statistics; [`plan`] says beforehand what
//! a run will cost.
//!
//! All variants of a cell have one length, so no batch is padded; nothing above the
//! layer that is read is computed, and where CLS alone is read, in that layer only its
//! row. Deletions of single genes share the first layer.
//!
//! ```
//! use gf_perturb::perturbation::Edit;
//!
//! // Three genes in order of their rank: the second is deleted.
//! assert_eq!(Edit::Delete.apply(&[71, 44, 93], &[44]), [71, 93]);
//! ```
//!
//! This crate must never know how weights are quantised or trained.

pub mod perturbation;

mod choice;
mod perturber;
mod readout;
mod run;
mod shift;

pub mod output;
pub mod plan;
pub mod stats;
pub mod store;

mod error;

pub use choice::{CellChoice, choose_cells};
pub use error::Error;
pub use run::{PerturbOptions, Progress, count_passes, run};
pub use shift::{CellShifts, Effect, GeneEffect, rank};
