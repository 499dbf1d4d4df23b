//! Tests of gf-corpus from the outside.
#![allow(clippy::unwrap_used)]

mod support;

mod catalogue;
mod genes;
mod droplets;
mod duplicates;
mod delimited;
mod golden;
mod h5ad;
mod h5ad_writer;
mod hostile;
mod laws;
mod loom;
mod medians;
mod mex;
mod bombs;
mod pickle;
mod pipeline;
mod qc;
mod refused;
mod suite;
mod tables;
mod tenx_h5;
mod zarr;

#[test]
fn tensor_suite_on_flex() {
    suite::suite::<burn_flex::Flex>(&Default::default());
}
