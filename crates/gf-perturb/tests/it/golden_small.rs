//! Two runs of the reference on the 43 small cells (shared/golden `ref/isp_v2`): every
//! gene deleted together with an anchor, and every gene overexpressed with the cosines
//! of the others, which the reference labels by the gene behind (REFERENCE.md §6.7).

use std::ops::ControlFlow;

use burn_flex::FlexDevice;
use gf_embed::{CellReader, reference_order};
use gf_perturb::{
    CellShifts, PerturbOptions,
    perturbation::{Edit, Targets},
    run,
};
use gf_tokenize::{Dataset, TokenId};
use serde_json::Value;

use crate::reference::{Reference, VERSIONS, json, tokens};

/// INDEX.md: f32 cosines of near-parallel vectors.
const COSINE_TOLERANCE: f64 = 2e-5;
/// The gene that del_combo deletes with each other one.
const ANCHOR: TokenId = TokenId(2258);
/// Cells of a run.
const N_CELLS: usize = 3;

/// The reference's entries `[[perturbed, what], [cosine]]` of one cell, in its order.
fn entries(pickles: &Value, kind: &str, cell: usize) -> Vec<(TokenId, Option<TokenId>, f64)> {
    let batches = ["-1", "0"].map(|batch| format!("{kind}_embs_{cell}batch{batch}_raw.pickle"));
    let files = pickles.as_object().unwrap();
    let find = |end: &String| files.iter().find(|(name, _)| name.ends_with(end)).unwrap().1;
    let entry = |entry: &Value| {
        let affected = entry[0][1].as_u64().map(|token| TokenId(token as u32));
        (tokens(&entry[0][0])[0], affected, entry[1][0].as_f64().unwrap())
    };
    batches.iter().flat_map(|end| find(end).as_array().unwrap().iter().map(entry)).collect()
}

/// Our cells of such a run, in the reference's order, with their genes.
fn cells(
    golden: &std::path::Path,
    options: impl FnOnce(PerturbOptions) -> PerturbOptions,
) -> Vec<(CellShifts, Vec<TokenId>)> {
    let reference = Reference::open(golden, VERSIONS[0]);
    let dataset = Dataset::open(&golden.join("ref/small/small_v2.dataset")).unwrap();
    let reader = CellReader::new(&reference.config, &dataset, &reference.vocabulary).unwrap();
    let options = options(PerturbOptions::new(reference.config.max_position_embeddings));
    let all: Vec<usize> = (0..dataset.len()).collect();
    let has_anchor = |row: &usize| match options.targets {
        Targets::WithAnchor(anchor) => dataset.tokens(*row).unwrap().contains(&(anchor.0 as i32)),
        _ => true,
    };
    let rows: Vec<usize> = all.into_iter().filter(has_anchor).collect();
    let rows = reference_order(&dataset, &rows, Some(N_CELLS)).unwrap();
    let mut found = Vec::new();
    let mut take = |cell: CellShifts| {
        let tokens = reader.tokens(cell.row).unwrap();
        let genes = tokens[reader.genes(&tokens)].iter().map(|&token| TokenId(token as u32));
        let genes = genes.collect();
        found.push((cell, genes));
        Ok(())
    };
    let mut go_on = |_| ControlFlow::Continue(());
    run(&reference.encoder, &reader, &rows, &options, &FlexDevice, &mut go_on, &mut take).unwrap();
    found
}

fn assert_close(place: &str, found: f64, expected: f64) {
    let difference = (found - expected).abs();
    assert!(difference <= COSINE_TOLERANCE, "{place}: {found}, expected {expected}");
}

#[test]
fn pairs_with_an_anchor_are_the_reference_s() {
    let Some(golden) = crate::golden_folder() else { return };
    let pickles = json(&golden.join("ref/isp_v2/del_combo.json"));
    let found = cells(&golden, |options| PerturbOptions {
        targets: Targets::WithAnchor(ANCHOR),
        ..options
    });
    assert_eq!(found.len(), N_CELLS);
    for (i, (cell, _)) in found.iter().enumerate() {
        let expected = entries(&pickles, "cell", i);
        assert_eq!(cell.effects.len(), expected.len());
        for (effect, (gene, _, cosine)) in cell.effects.iter().zip(expected) {
            assert_eq!(effect.genes, [ANCHOR, gene]);
            assert_close(&format!("del_combo, cell {i}, {gene}"), effect.cosine, cosine);
        }
    }
}

#[test]
fn overexpression_moves_the_other_genes_as_in_the_reference() {
    let Some(golden) = crate::golden_folder() else { return };
    let pickles = json(&golden.join("ref/isp_v2/oe_all_clsgene.json"));
    let found = cells(&golden, |options| PerturbOptions {
        edit: Edit::Overexpress,
        reads_genes: true,
        ..options
    });
    for (i, (cell, genes)) in found.iter().enumerate() {
        let (of_cell, of_genes) = (entries(&pickles, "cell", i), entries(&pickles, "gene", i));
        assert_eq!(cell.effects.len(), of_cell.len());
        for (effect, (gene, _, cosine)) in cell.effects.iter().zip(of_cell) {
            assert_eq!(effect.genes, [gene]);
            assert_close(&format!("oe_all, cell {i}, {gene}"), effect.cosine, cosine);
            let others: Vec<TokenId> = genes.iter().copied().filter(|g| *g != gene).collect();
            let labelled = of_genes.iter().filter(|(perturbed, _, _)| *perturbed == gene);
            let labelled: Vec<_> = labelled.collect();
            assert_eq!(labelled.len(), others.len() - 1);
            for (pair, (_, label, cosine)) in others.windows(2).zip(labelled) {
                assert_eq!(*label, Some(pair[1]), "the gene behind the one that is meant");
                let ours = effect.affected.iter().find(|(other, _)| *other == pair[0]).unwrap().1;
                assert_close(&format!("oe_all, cell {i}, {gene}, {}", pair[0]), ours, *cosine);
            }
        }
    }
}
