//! Padding of rows, as a law.

use burn_flex::{Flex, FlexDevice};
use gf_model::EncoderInput;
use proptest::prelude::*;

proptest! {
    #[test]
    fn rows_come_back_before_their_padding(
        rows in prop::collection::vec(prop::collection::vec(1i32..100, 1..12), 1..6)
    ) {
        let slices: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
        let input = EncoderInput::<Flex>::from_rows(&slices, 0, &FlexDevice);
        let longest = rows.iter().map(Vec::len).max().unwrap();
        prop_assert_eq!(input.input_ids().dims(), [rows.len(), longest]);
        let ids: Vec<i32> = input.input_ids().into_data().iter::<i32>().collect();
        let mask: Option<Vec<bool>> = input.padding_mask().map(|m| m.into_data().iter::<bool>().collect());
        for (i, row) in rows.iter().enumerate() {
            let (real, padding) = ids[i * longest..(i + 1) * longest].split_at(row.len());
            prop_assert_eq!(real, row.as_slice());
            prop_assert!(padding.iter().all(|&id| id == 0));
            if let Some(mask) = &mask {
                let expected: Vec<bool> = (0..longest).map(|j| j >= row.len()).collect();
                prop_assert_eq!(&mask[i * longest..(i + 1) * longest], expected.as_slice());
            }
        }
        prop_assert_eq!(mask.is_none(), rows.iter().all(|row| row.len() == longest));
    }
}
