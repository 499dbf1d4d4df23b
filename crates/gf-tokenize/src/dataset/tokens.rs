//! The token lists of one batch: slices of the file, or numbers of another width made i32 row by row.

use std::borrow::Cow;

use bytemuck::cast_slice;

use super::{
    column::{Column, Offsets, integer},
    layout::IntWidth,
    stream::Span,
};
use crate::error::ArrowFault;

const I32: IntWidth = IntWidth { bytes: 4, signed: true };

/// Token lists of a batch, whose offsets are known to be sound.
#[derive(Debug)]
pub(super) struct TokenLists {
    pub(super) n_rows: usize,
    pub(super) offsets: Offsets,
    pub(super) width: IntWidth,
    /// The tokens of all rows.
    pub(super) span: Span,
}

impl TokenLists {
    /// The tokens of a row of the batch: as they lie if they are int32, else converted.
    pub(super) fn row<'a>(&self, bytes: &'a [u8], row: usize) -> Cow<'a, [i32]> {
        let (start, end) = self.offsets.get(bytes, row);
        match self.width {
            I32 => Cow::Borrowed(&cast_slice(&bytes[self.span.clone()])[start..end]),
            width => (start..end).map(|at| integer(bytes, width, &self.span, at) as i32).collect(),
        }
    }

    /// Number of tokens of a row of the batch.
    pub(super) fn len(&self, bytes: &[u8], row: usize) -> usize {
        let (start, end) = self.offsets.get(bytes, row);
        end - start
    }

    /// Checks that every token is a number from 0 to 2³¹ − 1.
    pub(super) fn check_ids(&self, bytes: &[u8], first_row: usize) -> Result<(), ArrowFault> {
        match (0..self.n_rows).find_map(|row| Some((row, self.unsound_id(bytes, row)?))) {
            None => Ok(()),
            Some((row, found)) => {
                let found = i64::try_from(found).unwrap_or(i64::MAX);
                Err(ArrowFault::WideToken { row: first_row + row, found })
            }
        }
    }

    fn unsound_id(&self, bytes: &[u8], row: usize) -> Option<i128> {
        let (start, end) = self.offsets.get(bytes, row);
        match self.width {
            I32 => {
                let tokens: &[i32] = &cast_slice(&bytes[self.span.clone()])[start..end];
                tokens.iter().find(|&&token| token < 0).map(|&token| token.into())
            }
            width => (start..end)
                .map(|at| integer(bytes, width, &self.span, at))
                .find(|&token| i32::try_from(token).map_or(true, |token| token < 0)),
        }
    }

    /// Checks that the column of lengths says what the lists hold, where it says anything.
    pub(super) fn check_lengths(
        &self,
        bytes: &[u8],
        lengths: &Column,
        first_row: usize,
    ) -> Result<(), ArrowFault> {
        for row in 0..self.n_rows {
            let expected = self.len(bytes, row);
            match lengths.integer(bytes, row) {
                Some(found) if found != expected as i128 => {
                    let found = i64::try_from(found).unwrap_or(i64::MAX);
                    return Err(ArrowFault::Length { row: first_row + row, found, expected });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
