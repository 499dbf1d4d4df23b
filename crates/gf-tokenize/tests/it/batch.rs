//! Padded batches on the CPU.

use burn_flex::Flex;

#[test]
fn on_flex() {
    crate::suite::suite::<Flex>(&Default::default());
}

#[test]
fn under_autodiff() {
    crate::suite::suite::<burn::backend::Autodiff<Flex>>(&Default::default());
}
