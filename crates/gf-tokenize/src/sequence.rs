//! One cell as the model reads it: its tokens in order, never none.

use crate::token::TokenId;

/// The tokens of one cell, `<cls>` first and `<eos>` last where the vocabulary has them. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenSequence(Vec<TokenId>);

impl TokenSequence {
    /// A sequence of these tokens, or nothing if there are none.
    ///
    /// ```
    /// use gf_tokenize::{TokenId, TokenSequence};
    /// assert!(TokenSequence::new(vec![]).is_none());
    /// assert!(TokenSequence::new(vec![TokenId(7)]).is_some());
    /// ```
    pub fn new(tokens: Vec<TokenId>) -> Option<Self> {
        (!tokens.is_empty()).then_some(Self(tokens))
    }

    /// The tokens in order.
    pub fn tokens(&self) -> &[TokenId] {
        &self.0
    }

    /// Number of tokens, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
