//! The encoder's operations on a processor, in few passes over memory.
//!
//! Each function asks whether its tensors are plain f32 numbers of Burn's Flex
//! backend, and gives `None` where they are not (another backend, another number
//! format, a tape for gradients): the caller then takes its portable form, which is
//! also the oracle of the tests. So that any backend of Burn works, a kernel is found
//! by the type of the primitive and not by a trait that backends would have to
//! implement.
//!
//! All arithmetic is f32, or exact integers behind INT8 projections, in an order that depends neither on the number of threads
//! nor on the width of the vectors.

use std::any::Any;

mod attention;
mod blocks;
mod deletions;
pub mod flex;
mod linear;
mod norm;
pub mod pairs;
mod panels;
mod strassen;
mod tile;

pub use attention::AttentionArithmetic;
pub(crate) use attention::attention;
pub use blocks::{Room, for_each_block};
pub(crate) use deletions::Joined;
pub(crate) use linear::{Weights, feed_forward, products};
pub(crate) use norm::add_norm;

/// A backend's primitive as the type that it may be: how a kernel is found.
pub fn downcast<T: Any>(primitive: impl Any) -> Option<T> {
    let primitive: Box<dyn Any> = Box::new(primitive);
    primitive.downcast().ok().map(|primitive| *primitive)
}

/// The larger number, `b` where `a` is none: one instruction, where `f32::max` takes three.
#[inline(always)]
pub fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The largest absolute value; a number that is none counts as nothing.
#[inline(always)]
pub fn absmax(row: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 32];
    for chunk in row.chunks(32) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane = larger(x.abs(), *lane));
    }
    lanes.into_iter().fold(0.0, larger)
}
