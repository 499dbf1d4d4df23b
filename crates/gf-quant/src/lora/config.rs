//! Where adapters sit and how large they are.

use std::{collections::BTreeSet, fmt};

use crate::Error;

/// A projection of every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Attention's query.
    Query,
    /// Attention's key.
    Key,
    /// Attention's value.
    Value,
    /// Attention's output.
    AttentionOutput,
    /// Feed-forward `d_model → d_ff`.
    Intermediate,
    /// Feed-forward `d_ff → d_model`.
    Output,
}

impl Target {
    /// All, in the order of the forward pass.
    pub const ALL: [Self; 6] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::AttentionOutput,
        Self::Intermediate,
        Self::Output,
    ];

    /// PEFT's name in `target_modules`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::AttentionOutput => "attention.output.dense",
            Self::Intermediate => "intermediate.dense",
            Self::Output => "output.dense",
        }
    }

    /// Name within a layer of `transformers`' BERT.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Query => "attention.self.query",
            Self::Key => "attention.self.key",
            Self::Value => "attention.self.value",
            _ => self.name(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Hyper-parameters of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Rank of the update.
    pub r: usize,
    /// Strength: the update is multiplied by `alpha / r`.
    pub alpha: f64,
    /// Probability of dropping an input of `A`, while training.
    pub dropout: f64,
    /// Multiply by `alpha / √r` instead (Kalajdzievski 2023).
    pub rslora: bool,
    /// The projections adapted, in every layer.
    pub targets: BTreeSet<Target>,
}

impl LoraConfig {
    /// The paper's setting for gene tasks: r 128, α 256. Dropout and targets are the
    /// reference's (REFERENCE.md §7.5).
    pub fn gene_task() -> Self {
        Self::reference(128, 256.0)
    }

    /// The paper's setting for cell tasks: r 32, α 64.
    pub fn cell_task() -> Self {
        Self::reference(32, 64.0)
    }

    fn reference(r: usize, alpha: f64) -> Self {
        let targets = [Target::Query, Target::Value].into();
        Self { r, alpha, dropout: 0.1, rslora: false, targets }
    }

    /// The factor of `B · A`.
    ///
    /// ```
    /// assert_eq!(gf_quant::lora::LoraConfig::gene_task().scaling(), 2.0);
    /// ```
    pub fn scaling(&self) -> f64 {
        let r = self.r as f64;
        self.alpha / if self.rslora { r.sqrt() } else { r }
    }

    /// Refuses what cannot be computed.
    ///
    /// # Errors
    ///
    /// [`Error::Lora`] with the value.
    pub fn check(&self) -> Result<(), Error> {
        require("r", self.r, self.r >= 1, "at least 1")?;
        require("alpha", self.alpha, self.alpha.is_finite(), "a finite number")?;
        let is_probability = (0.0..1.0).contains(&self.dropout);
        require("dropout", self.dropout, is_probability, "from 0 to below 1")?;
        require("number of targets", self.targets.len(), !self.targets.is_empty(), "at least 1")
    }
}

fn require(
    key: &'static str,
    found: impl ToString,
    holds: bool,
    expected: &str,
) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::Lora { key, found: found.to_string(), expected: expected.to_owned() })
}
