//! What must hold on every backend. Nothing here but this crate's public interface and Burn, so that
//! another crate can include the file and run it on its own device.

use burn::tensor::{Int, Tensor, backend::Backend};
use gf_tokenize::TokenBatch;

/// Runs every check on a device.
pub fn suite<B: Backend>(device: &B::Device) {
    check::<B>(&[&[2, 7, 9, 3], &[2, 8, 3], &[5]], 0, device);
    check::<B>(&[&[2, 20_274, 3]], 0, device);
    check::<B>(&[&[4, 5], &[6, 7]], 1, device);
    check::<B>(&[&[], &[6, 7]], -1, device);
}

fn check<B: Backend>(rows: &[&[i32]], pad: i32, device: &B::Device) {
    let batch = TokenBatch::<B>::new(rows, pad, device);
    let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
    let seq_length = lengths.iter().copied().max().unwrap_or(0);
    assert_eq!(batch.lengths, lengths);
    assert_eq!(batch.input_ids.dims(), [rows.len(), seq_length]);
    let found = numbers(batch.input_ids);
    for (row_idx, row) in rows.iter().enumerate() {
        for position in 0..seq_length {
            let expected = row.get(position).copied().unwrap_or(pad);
            let found = found[row_idx * seq_length + position];
            assert_eq!(found, i64::from(expected), "row {row_idx}, position {position}");
        }
    }
}

fn numbers<B: Backend>(tensor: Tensor<B, 2, Int>) -> Vec<i64> {
    tensor.into_data().iter::<i64>().collect()
}
