//! A token's number, and the four tokens that are not genes.

use std::fmt;

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// The number of a token: a row of the model's embedding table.
///
/// ```
/// let token = gf_tokenize::TokenId(2);
/// assert_eq!(token.to_string(), "2");
/// assert_eq!(token.index(), 2);
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Pod, Zeroable,
)]
#[serde(transparent)]
#[repr(transparent)]
pub struct TokenId(pub u32);

impl TokenId {
    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The tokens that stand for no gene.
///
/// V2 vocabularies have all four, numbered 0 to 3; V1 vocabularies have `<pad>` and `<mask>` only
/// and write their cells without a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// Fills a batch up to its longest row.
    pub pad: TokenId,
    /// Stands where a gene is hidden during pretraining.
    pub mask: TokenId,
    /// Opens every cell; its state is the cell's embedding.
    pub cls: Option<TokenId>,
    /// Closes every cell.
    pub eos: Option<TokenId>,
}

impl SpecialTokens {
    /// Name of the padding token in a vocabulary.
    pub const PAD: &'static str = "<pad>";
    /// Name of the mask token in a vocabulary.
    pub const MASK: &'static str = "<mask>";
    /// Name of the opening token in a vocabulary.
    pub const CLS: &'static str = "<cls>";
    /// Name of the closing token in a vocabulary.
    pub const EOS: &'static str = "<eos>";

    /// The V2 numbering: pad 0, mask 1, cls 2, eos 3.
    pub const V2: Self =
        Self { pad: TokenId(0), mask: TokenId(1), cls: Some(TokenId(2)), eos: Some(TokenId(3)) };

    /// How many tokens frame each cell: 2 with `<cls>` and `<eos>`, 0 without.
    pub fn n_framing(self) -> usize {
        usize::from(self.cls.is_some()) + usize::from(self.eos.is_some())
    }

    /// The special tokens there are, with their names.
    pub fn named(self) -> impl Iterator<Item = (&'static str, TokenId)> {
        [
            (Self::PAD, Some(self.pad)),
            (Self::MASK, Some(self.mask)),
            (Self::CLS, self.cls),
            (Self::EOS, self.eos),
        ]
        .into_iter()
        .filter_map(|(name, token)| Some((name, token?)))
    }
}
