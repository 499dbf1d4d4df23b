//! How the learning rate rises and falls.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// The shape of the fall after the warm-up, as `lr_scheduler_type` of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Half a cosine down to 0 (the paper's V2 models).
    Cosine,
    /// A straight line down to 0 (the V1 models).
    Linear,
    /// No fall.
    Constant,
}

/// A learning rate for every step: a straight rise over the warm-up, then a
/// [`Decay`].
///
/// The formulas are those of `optimization.py` in transformers 5.23
/// (`get_{cosine,linear,constant}_schedule_with_warmup`).
///
/// ```
/// use gf_train::{Decay, Schedule};
///
/// let schedule = Schedule { peak: 2e-4, decay: Decay::Linear, warmup_steps: 4, total_steps: 100 };
/// assert_eq!(schedule.at(0), 0.0);
/// assert_eq!(schedule.at(4), 2e-4);
/// assert_eq!(schedule.at(52), 1e-4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest learning rate, reached when the warm-up ends.
    pub peak: f64,
    /// What follows the warm-up.
    pub decay: Decay,
    /// Steps of the rise.
    pub warmup_steps: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
}

impl Schedule {
    /// The learning rate of a step, counted from 0; the first step of a warm-up
    /// has learning rate 0, as in the reference.
    pub fn at(&self, step: u64) -> f64 {
        self.peak * self.factor(step)
    }

    fn factor(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps as f64;
        }
        let n_falling = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let fallen = (step - self.warmup_steps) as f64 / n_falling;
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => (self.total_steps.saturating_sub(step) as f64 / n_falling).max(0.0),
            Decay::Cosine => (0.5 * (1.0 + (PI * fallen).cos())).max(0.0),
        }
    }
}
