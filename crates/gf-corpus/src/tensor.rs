//! The one place where counts become a tensor.

use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::{
    counts::CountMatrix,
    error::{Error, Result},
    medians::cp10k,
};

/// A dense block of CP10k values: count / total × 10,000, zero where a gene
/// was not detected.
///
/// # Shapes
/// - `counts`: `[n_cells, n_genes]`, sparse
/// - `totals`: `[n_cells]`, all counts of each cell
/// - output: `[n_cells, n_genes]`
///
/// # Errors
/// [`Error::Length`] if there is not one total a cell.
pub fn cp10k_tensor<B: Backend>(
    counts: &CountMatrix,
    totals: &[u64],
    device: &B::Device,
) -> Result<Tensor<B, 2>> {
    let [n_cells, n_genes] = [counts.n_cells(), counts.n_genes()];
    if totals.len() != n_cells {
        let (found, expected) = (totals.len() as u64, n_cells as u64);
        let what = "totals of a block".to_owned();
        return Err(Error::Length { path: Default::default(), what, found, expected });
    }
    let mut values = vec![0f32; n_cells * n_genes];
    for ((row, (genes, counts)), &total) in
        values.chunks_mut(n_genes.max(1)).zip(counts.rows()).zip(totals)
    {
        for (&gene, &count) in genes.iter().zip(counts) {
            row[gene as usize] = cp10k(count, total) as f32;
        }
    }
    Ok(Tensor::from_data(TensorData::new(values, [n_cells, n_genes]), device))
}
