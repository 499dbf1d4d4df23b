//! Pure edits of a cell's tokens (REFERENCE.md §6.3; `perturber_utils.py`,
//! `delete_indices` and `overexpress_indices`).
//!
//! A cell is its genes in the order of their ranks between an optional CLS and an
//! optional EOS. An [`Edit`] moves or takes out genes; nothing else is re-ranked.

use std::ops::Range;

use gf_tokenize::TokenId;

/// Quarters of the encoding that a gene is shifted by: 1, 2 or 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quartiles(u8);

impl Quartiles {
    /// One to three quarters.
    ///
    /// ```
    /// use gf_perturb::perturbation::Quartiles;
    /// assert!(Quartiles::new(3).is_some() && Quartiles::new(4).is_none());
    /// ```
    pub fn new(quartiles: u8) -> Option<Self> {
        (1..=3).contains(&quartiles).then_some(Self(quartiles))
    }
}

/// What is done to genes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edit {
    /// They are taken out.
    Delete,
    /// They are put first, whether the cell has them or not.
    Overexpress,
    /// They go down to the middle of a later quarter, or to the end.
    Inhibit(Quartiles),
    /// They go up to the middle of an earlier quarter, or to the front.
    Activate(Quartiles),
}

impl Edit {
    /// Whether the edit can be done to genes that the cell does not have.
    pub fn takes_absent_genes(self) -> bool {
        self == Self::Overexpress
    }

    /// The genes of a cell after the edit; genes of `group` that are not in the cell
    /// take part in an overexpression alone.
    ///
    /// ```
    /// use gf_perturb::perturbation::Edit;
    /// assert_eq!(Edit::Delete.apply(&[71, 44, 93], &[44]), [71, 93]);
    /// assert_eq!(Edit::Overexpress.apply(&[71, 44, 93], &[93, 8]), [93, 8, 71, 44]);
    /// ```
    pub fn apply(self, genes: &[i32], group: &[i32]) -> Vec<i32> {
        let mut edited = without(genes, group);
        match self {
            Self::Delete => {}
            Self::Overexpress => drop(edited.splice(0..0, group.iter().copied())),
            Self::Inhibit(_) | Self::Activate(_) => self.shift(&mut edited, genes, group),
        }
        edited
    }

    /// Puts the genes of `group` back at their new ranks, the higher ones first.
    fn shift(self, edited: &mut Vec<i32>, genes: &[i32], group: &[i32]) {
        let ranks = genes.iter().enumerate().filter(|(_, gene)| group.contains(gene));
        let moved = ranks.filter_map(|(rank, &gene)| Some((self.target(rank, genes.len())?, gene)));
        let mut moved: Vec<(usize, i32)> = moved.collect();
        moved.sort_by_key(|&(target, _)| target);
        for (target, gene) in moved {
            edited.insert(target.min(edited.len()), gene);
        }
    }

    /// The new rank of the gene at a rank among `n`, 0-based; none if it is deleted.
    fn target(self, rank: usize, n: usize) -> Option<usize> {
        let quartile = 4 * rank / n;
        // The middle of a quarter, as the reference's documentation says.
        let middle = |quartile: usize| (2 * quartile + 1) * n / 8;
        match self {
            Self::Delete => None,
            Self::Overexpress => Some(0),
            Self::Activate(by) => Some(quartile.checked_sub(by.0.into()).map_or(0, middle)),
            Self::Inhibit(by) => match quartile + usize::from(by.0) {
                quartile @ 0..=3 => Some(middle(quartile)),
                _ => Some(n - 1),
            },
        }
    }

    /// Genes of the cell after the edit.
    fn n_genes(self, genes: &[i32], group: &[i32]) -> usize {
        let n_present = group.iter().filter(|gene| genes.contains(gene)).count();
        match self {
            Self::Delete => genes.len() - n_present,
            Self::Overexpress => genes.len() + group.len() - n_present,
            Self::Inhibit(_) | Self::Activate(_) => genes.len(),
        }
    }
}

/// The genes that are not in `group`, in their order.
pub fn without(genes: &[i32], group: &[i32]) -> Vec<i32> {
    genes.iter().copied().filter(|gene| !group.contains(gene)).collect()
}

/// Which genes of a cell are edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// Every gene of the cell, one at a time.
    All,
    /// Each of these, one at a time.
    Each(Vec<TokenId>),
    /// These together.
    Together(Vec<TokenId>),
    /// Every gene of the cell together with this one.
    WithAnchor(TokenId),
}

impl Targets {
    /// The groups that are edited in a cell with these genes, in the order of the cell
    /// or of the list. A group of a list takes part if the cell has all of its genes, or
    /// the edit needs none. Of all genes those that stand where they would be moved to
    /// are left out, as in the reference.
    pub fn groups(&self, edit: Edit, genes: &[i32]) -> Vec<Vec<i32>> {
        let token = |token: &TokenId| token.0 as i32;
        let fits = |group: &Vec<i32>| {
            edit.takes_absent_genes() || group.iter().all(|gene| genes.contains(gene))
        };
        match self {
            Self::All => {
                let ranked = genes.iter().enumerate();
                let moved =
                    ranked.filter(|&(rank, _)| edit.target(rank, genes.len()) != Some(rank));
                moved.map(|(_, &gene)| vec![gene]).collect()
            }
            Self::Each(each) => each.iter().map(|gene| vec![token(gene)]).filter(fits).collect(),
            Self::Together(group) => {
                let group: Vec<i32> = group.iter().map(token).collect();
                Some(group).into_iter().filter(fits).collect()
            }
            Self::WithAnchor(anchor) if genes.contains(&token(anchor)) => {
                let others = genes.iter().filter(|&&gene| gene != token(anchor));
                others.map(|&gene| vec![token(anchor), gene]).collect()
            }
            Self::WithAnchor(_) => Vec::new(),
        }
    }
}

/// The edit of a group in one cell, before its tokens are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The edited genes.
    pub group: Vec<i32>,
    /// Genes of the cell after the edit that are read.
    pub n_genes: usize,
    /// How many of its last genes the original loses to be compared: as many as the
    /// edited cell is too long for the model.
    pub n_cut: usize,
}

impl Variant {
    /// The edit of `group` in a cell for a model that reads `max_genes` genes.
    pub fn new(edit: Edit, genes: &[i32], group: Vec<i32>, max_genes: usize) -> Self {
        let n_genes = edit.n_genes(genes, &group);
        let n_cut = n_genes.saturating_sub(max_genes);
        Self { group, n_genes: n_genes - n_cut, n_cut }
    }

    /// The edited cell; one that is too long loses its last genes, not its EOS.
    pub fn tokens(&self, edit: Edit, tokens: &[i32], genes: Range<usize>) -> Vec<i32> {
        let edited = edit.apply(&tokens[genes.clone()], &self.group);
        [&tokens[..genes.start], &edited[..self.n_genes], &tokens[genes.end..]].concat()
    }

    /// The position in `tokens` of the variant's gene, if it is one alone that stands there
    /// once, and the original is the whole cell.
    pub(crate) fn position(&self, tokens: &[i32]) -> Option<usize> {
        let [gene] = self.group[..] else { return None };
        let mut found = tokens.iter().enumerate().filter(|&(_, &token)| token == gene);
        let (position, _) = found.next()?;
        (self.n_cut == 0 && found.next().is_none()).then_some(position)
    }

    /// The cell to compare with, as long as the edited one lets it be.
    pub fn original(&self, tokens: &[i32], genes: Range<usize>) -> Vec<i32> {
        let end = genes.end - self.n_cut.min(genes.len());
        [&tokens[..end], &tokens[genes.end..]].concat()
    }
}
