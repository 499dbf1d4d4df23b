//! Laws of the encoding, and the encoding done slowly.

use gf_corpus::GeneId;
use gf_tokenize::{Error, RankEncoder, TokenId, Vocabulary};
use proptest::{collection::vec, prelude::*, sample::subsequence};

use crate::support::{encode, gene};

/// A quotient of counts times a quotient of medians is off by a few roundings; genes closer than this
/// (relative) may change places when the counts of the cell are scaled.
const NEAR_TIE: f64 = 1e-15;

/// A cell over genes 0, 1, 2 … of which some are in the vocabulary.
#[derive(Debug, Clone)]
struct Case {
    counts: Vec<u32>,
    medians: Vec<f64>,
    known: Vec<usize>,
    max_len: usize,
}

impl Case {
    fn genes(&self) -> Vec<GeneId> {
        // Columns in an order that is not the order of the ids.
        (0..self.counts.len() as u64).map(|idx| gene(1 + (idx * 7919) % 100_003)).collect()
    }

    fn encoder(&self) -> RankEncoder {
        let genes = self.genes();
        let known = self.known.iter().map(|&idx| genes[idx]);
        let medians = genes.iter().copied().zip(self.medians.iter().copied());
        RankEncoder::from_medians(Vocabulary::from_genes(known), medians, self.max_len).unwrap()
    }

    fn encode(&self) -> Option<(Vec<u32>, bool)> {
        encode(&self.encoder(), &self.genes(), &self.counts)
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (1usize..80).prop_flat_map(|n_genes| {
        // Few different counts and medians, so that ties are common.
        let counts = vec(prop_oneof![Just(0), 0u32..12, 0u32..100_000], n_genes);
        // Some differ only in digits that the upper half of a number does not show.
        let alike = (0u32..4).prop_map(|n| 1.0 + f64::from(n) * 1e-12);
        let medians = vec(prop_oneof![Just(1.0), Just(2.0), alike, 0.01f64..300.0], n_genes);
        let known = subsequence((0..n_genes).collect::<Vec<_>>(), 1..=n_genes);
        (counts, medians, known, 3usize..90).prop_map(|(counts, medians, known, max_len)| Case {
            counts,
            medians,
            known,
            max_len,
        })
    })
}

/// The methods section, word for word: again and again the most telling of the remaining genes, the
/// first of equals.
fn oracle(case: &Case) -> Option<(Vec<u32>, bool)> {
    let genes = case.genes();
    let vocabulary = Vocabulary::from_genes(case.known.iter().map(|&idx| genes[idx]));
    let total: u64 = case.counts.iter().map(|&count| u64::from(count)).sum();
    let mut left: Vec<(f64, TokenId)> = Vec::new();
    for (idx, gene) in genes.iter().enumerate() {
        if let (Some(token), true) = (vocabulary.id(*gene), case.counts[idx] > 0) {
            left.push((
                f64::from(case.counts[idx])
                    * (1.0 / total as f64)
                    * 10_000.0
                    * (1.0 / case.medians[idx]),
                token,
            ));
        }
    }
    let truncated = left.len() > case.max_len - 2;
    let mut tokens = vec![2];
    while !left.is_empty() && tokens.len() < case.max_len - 1 {
        let best = (1..left.len())
            .fold(0, |best, idx| if left[idx].0 > left[best].0 { idx } else { best });
        tokens.push(left.remove(best).1.0);
    }
    tokens.push(3);
    (tokens.len() > 2).then_some((tokens, truncated))
}

proptest! {
    #[test]
    fn equals_the_slow_oracle(case in cases()) {
        prop_assert_eq!(case.encode(), oracle(&case));
    }

    #[test]
    fn is_framed_and_fits(case in cases()) {
        if let Some((tokens, truncated)) = case.encode() {
            prop_assert!(tokens.len() <= case.max_len);
            prop_assert_eq!((tokens[0], tokens[tokens.len() - 1]), (2, 3));
            prop_assert!(!truncated || tokens.len() == case.max_len);
        }
    }

    #[test]
    fn decodes_to_detected_genes_once_each(case in cases()) {
        let (encoder, genes) = (case.encoder(), case.genes());
        let detected: Vec<GeneId> = case.known.iter().filter(|&&idx| case.counts[idx] > 0).map(|&idx| genes[idx]).collect();
        let Some((tokens, truncated)) = case.encode() else {
            prop_assert!(detected.is_empty());
            return Ok(());
        };
        let mut decoded: Vec<GeneId> = tokens[1..tokens.len() - 1].iter().map(|&token| encoder.vocabulary().gene(TokenId(token)).unwrap()).collect();
        prop_assert!(decoded.iter().all(|gene| detected.contains(gene)));
        prop_assert_eq!(truncated, decoded.len() < detected.len());
        decoded.sort();
        decoded.dedup();
        prop_assert_eq!(decoded.len(), tokens.len() - 2);
    }

    /// Doubling is exact in binary, so not even ties move.
    #[test]
    fn doubling_the_counts_changes_nothing(case in cases(), times in 0u32..4) {
        let scaled = Case { counts: case.counts.iter().map(|count| count << times).collect(), ..case.clone() };
        prop_assert_eq!(scaled.encode(), case.encode());
    }

    /// Any other factor rounds differently: genes whose values tie, or differ in the last digits only,
    /// may change places; nothing else may.
    #[test]
    fn scaling_the_counts_changes_near_ties_only(case in cases(), times in 1u32..1000) {
        let case = Case { max_len: 4096, ..case };
        let scaled = Case { counts: case.counts.iter().map(|count| count * times).collect(), ..case.clone() };
        let (Some((tokens, _)), Some((mut moved, _))) = (case.encode(), scaled.encode()) else {
            prop_assert_eq!(scaled.encode(), case.encode());
            return Ok(());
        };
        let (encoder, genes) = (case.encoder(), case.genes());
        let value = |token: &u32| {
            let gene = encoder.vocabulary().gene(TokenId(*token)).unwrap();
            let idx = genes.iter().position(|&other| other == gene).unwrap();
            f64::from(case.counts[idx]) / case.medians[idx]
        };
        let values: Vec<f64> = moved[1..moved.len() - 1].iter().map(value).collect();
        prop_assert!(values.windows(2).all(|pair| pair[0] >= pair[1] * (1.0 - NEAR_TIE)));
        moved.sort_unstable();
        let mut tokens = tokens;
        tokens.sort_unstable();
        prop_assert_eq!(moved, tokens);
    }

    #[test]
    fn an_undetected_gene_may_be_deleted(case in cases(), at in any::<prop::sample::Index>()) {
        let mut counts = case.counts.clone();
        let at = at.index(counts.len());
        counts[at] = 0;
        let encoder = case.encoder();
        let mut genes = case.genes();
        let with = encode(&encoder, &genes, &counts);
        genes.remove(at);
        counts.remove(at);
        prop_assert_eq!(encode(&encoder, &genes, &counts), with);
    }

    /// The order of the columns decides between ties and nothing else.
    #[test]
    fn column_order_does_not_matter_without_ties(case in cases(), turn in any::<prop::sample::Index>()) {
        // Distinct medians over equal counts leave no ties.
        let n_genes = case.counts.len();
        let case = Case {
            counts: case.counts.iter().map(|&count| u32::from(count > 0)).collect(),
            medians: (1..=n_genes).map(|idx| idx as f64).collect(),
            ..case
        };
        let (mut genes, mut counts) = (case.genes(), case.counts.clone());
        genes.rotate_left(turn.index(n_genes));
        counts.rotate_left(turn.index(n_genes));
        prop_assert_eq!(encode(&case.encoder(), &genes, &counts), case.encode());
    }
}

#[test]
fn ties_keep_the_order_of_the_columns() {
    let genes = [9, 1, 5].map(gene);
    let vocabulary = Vocabulary::from_genes(genes);
    let encoder =
        RankEncoder::from_medians(vocabulary, genes.map(|gene| (gene, 1.0)), 4096).unwrap();
    assert_eq!(encode(&encoder, &genes, &[4, 4, 4]), Some((vec![2, 6, 4, 5, 3], false)));
}

#[test]
fn values_that_differ_in_their_last_digits_are_told_apart() {
    let genes = [1, 2, 3].map(gene);
    let medians = genes.into_iter().zip([1.0 + 3e-12, 1.0, 1.0 + 1e-12]);
    let encoder = RankEncoder::from_medians(Vocabulary::from_genes(genes), medians, 4096).unwrap();
    assert_eq!(encode(&encoder, &genes, &[4, 4, 4]), Some((vec![2, 5, 6, 4, 3], false)));
}

#[test]
fn encoders_that_cannot_be() {
    let genes = [1, 2, 3].map(gene);
    let encoder = |median, max_len| {
        let medians = [(genes[0], 1.0), (genes[1], median)];
        RankEncoder::from_medians(Vocabulary::from_genes(genes), medians, max_len).unwrap_err()
    };
    assert!(matches!(encoder(1.0, 2), Error::MaxLenTooSmall { max_len: 2, n_special: 2 }));
    assert!(
        matches!(encoder(1.0, 9), Error::MissingMedian { gene, n_genes: 1 } if gene == genes[2])
    );
    for median in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(
            matches!(encoder(median, 9), Error::MissingMedian { gene, n_genes: 2 } if gene == genes[1])
        );
    }
}

#[test]
fn the_medians_hash_is_that_of_the_vocabulary_genes() {
    let hash = |medians: &[(GeneId, f64)]| {
        let vocabulary = Vocabulary::from_genes([1, 2].map(gene));
        RankEncoder::from_medians(vocabulary, medians.iter().copied(), 9)
            .unwrap()
            .medians_hash()
            .to_owned()
    };
    let plain = hash(&[(gene(1), 1.0), (gene(2), 2.0)]);
    assert_eq!(plain, hash(&[(gene(7), 5.0), (gene(2), 2.0), (gene(1), 1.0)]));
    assert_ne!(plain, hash(&[(gene(1), 1.0), (gene(2), 2.5)]));
}
