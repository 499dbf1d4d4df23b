//! Every run of the reference's InSilicoPerturber on nine cells (shared/golden, INDEX.md
//! A8): V2 cells read by CLS, V1 cells by their genes; deletions and overexpressions of
//! all genes, of one and of groups, with states and with the genes' own cosines.

use std::{ops::ControlFlow, path::Path};

use burn_flex::FlexDevice;
use gf_embed::{CellReader, EmbedLayer, Readout, StateEmbeddings, reference_order};
use gf_perturb::{
    PerturbOptions,
    perturbation::{Edit, Targets},
    run,
    stats::Observations,
};
use gf_tokenize::{MetadataValue, TokenId};
use serde_json::Value;

use crate::reference::{Reference, VERSIONS, observations};

/// INDEX.md: f32 cosines of near-parallel vectors.
const COSINE_TOLERANCE: f64 = 2e-5;

#[test]
fn every_run_of_the_reference_is_reproduced() {
    let Some(golden) = crate::golden_folder() else { return };
    for version in VERSIONS {
        let reference = Reference::open(&golden, version);
        let folder = golden.join("ref").join(version.0);
        let mut n_runs = 0;
        for (name, entry) in
            reference.runs.iter().filter(|(_, e)| e["args"]["perturb_type"].is_string())
        {
            let found = perturb(&reference, &folder, &entry["args"]);
            let expected = observations(&folder.join("isp").join(format!("{name}.json")));
            compare(&format!("{}/{name}", version.0), &found, &expected);
            n_runs += 1;
        }
        assert_eq!(n_runs, 14, "{}", version.0);
    }
}

/// Runs what the arguments of the reference say.
fn perturb(reference: &Reference, folder: &Path, args: &Value) -> Observations {
    let states = match args["cell_states_to_model"].is_object() {
        true => StateEmbeddings::read_json(&folder.join("emb/state_embs.json")).unwrap(),
        false => StateEmbeddings::default(),
    };
    let genes = args["genes_to_perturb"].as_array().map(|ids| {
        let token = |id: &Value| reference.vocabulary.id(id.as_str().unwrap().parse().unwrap());
        ids.iter().map(|id| token(id).unwrap()).collect::<Vec<TokenId>>()
    });
    let edit = match args["perturb_type"].as_str().unwrap() {
        "delete" => Edit::Delete,
        _ => Edit::Overexpress,
    };
    let mode = args["emb_mode"].as_str().unwrap();
    let options = PerturbOptions {
        edit,
        targets: genes.clone().map_or(Targets::All, Targets::Together),
        layer: if args["emb_layer"] == 0 { EmbedLayer::Last } else { EmbedLayer::SecondToLast },
        readout: if mode.starts_with("cls") { Readout::Cls } else { Readout::Cell },
        reads_genes: mode.ends_with("gene"),
        states,
        batches_at_once: 2,
        ..PerturbOptions::new(reference.config.max_position_embeddings)
    };
    let rows = rows(reference, args, genes.filter(|_| edit == Edit::Delete).as_deref());
    let reader =
        CellReader::new(&reference.config, &reference.dataset, &reference.vocabulary).unwrap();
    let states = options.states.iter().map(|(state, _)| state.to_owned()).collect();
    let mut observations = Observations::new(states);
    let mut go_on = |_| ControlFlow::Continue(());
    let mut take = |cell: gf_perturb::CellShifts| {
        cell.effects.iter().for_each(|effect| observations.add(effect));
        Ok(())
    };
    run(&reference.encoder, &reader, &rows, &options, &FlexDevice, &mut go_on, &mut take).unwrap();
    observations
}

/// The cells that the reference chooses, in its order (REFERENCE.md §6.2).
fn rows(reference: &Reference, args: &Value, genes: Option<&[TokenId]>) -> Vec<usize> {
    let dataset = &reference.dataset;
    let mut rows: Vec<usize> = (0..dataset.len()).collect();
    let start = args["cell_states_to_model"]["start_state"].as_str();
    let filter = args["filter_data"]["state"][0].as_str();
    if let Some(state) = start.or(filter) {
        rows = dataset.filter_rows(rows, "state", &[MetadataValue::Text(state)]).unwrap();
    }
    let has =
        |row: &usize, gene: &TokenId| dataset.tokens(*row).unwrap().contains(&(gene.0 as i32));
    rows.retain(|row| genes.unwrap_or_default().iter().all(|gene| has(row, gene)));
    let most = args["max_ncells"].as_u64().map(|n| n as usize);
    let rows = reference_order(dataset, &rows, most).unwrap();
    match args["cell_inds_to_perturb"]["start"].as_u64() {
        None => rows,
        Some(start) => {
            let end = args["cell_inds_to_perturb"]["end"].as_u64().unwrap();
            rows[start as usize..end as usize].to_vec()
        }
    }
}

fn compare(name: &str, found: &Observations, expected: &Observations) {
    assert!(found.cells.keys().eq(expected.cells.keys()), "{name}: other genes are perturbed");
    for (genes, expected_cells) in &expected.cells {
        let (place, cells) = (format!("{name} {genes:?}"), &found.cells[genes]);
        if expected.states.is_empty() {
            assert_close(&place, &cells.cosines, &expected_cells.cosines);
        }
        for (state, shifts) in expected.states.iter().zip(&expected_cells.shifts) {
            let index = found.states.iter().position(|found| found == state).unwrap();
            assert_close(&format!("{place} {state}"), &cells.shifts[index], shifts);
        }
    }
    assert!(found.affected.keys().eq(expected.affected.keys()), "{name}");
    for (genes, expected) in &expected.affected {
        let found = &found.affected[genes];
        assert!(found.keys().eq(expected.keys()), "{name} {genes:?}: other genes remain");
        for (gene, expected) in expected {
            assert_close(&format!("{name} {genes:?} {gene}"), &found[gene], expected);
        }
    }
}

fn assert_close(place: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{place}: other cells");
    for (x, y) in found.iter().zip(expected) {
        assert!((x - y).abs() <= COSINE_TOLERANCE, "{place}: {x}, expected {y}");
    }
}
