//! Run folders as `gf perturb` and `gf stats` write them.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use gf_perturb::{
    CellShifts, Effect,
    store::{ShardKey, ShardWriter},
};
use gf_tokenize::TokenId;

use super::{StateGene, TestedGene, load};
use crate::report::{ReportInput, write_report};

const SETTINGS: &str = r#"{"gf":"0.1.0","model":"aa","vocabulary":"bb","cells":"cc","edit":"Delete",
"targets":"All","layer":"SecondToLast","readout":"Cls","reads_genes":false,"precision":"F32"}"#;
/// Means of two and three numbers of f64.
const ROUNDING: f64 = 1e-15;

/// Three cells; genes 4 and 5 are deleted in each, 6 in one.
fn run_folder(settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = ShardKey {
        settings: settings.to_owned(),
        states: vec!["well".to_owned()],
        shard: (1, 1),
        n_cells: 3,
    };
    let mut writer = ShardWriter::open(&folder.path().join("shifts.arrow"), &key).unwrap();
    for row in 0..3 {
        let effect = |gene: u32, cosine, shift| Effect {
            genes: vec![TokenId(gene)],
            cosine,
            shifts: vec![shift],
            affected: Vec::new(),
        };
        let mut effects = vec![effect(4, 0.5, 0.1 * row as f64), effect(5, 0.75, -0.5)];
        effects.extend((row == 0).then(|| effect(6, 0.25, 0.9)));
        writer.push(&CellShifts { row, cell_id: format!("cell-{row}"), effects }).unwrap();
    }
    writer.finish().unwrap();
    let ranking = "Rank,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean,Cosine_shift_stdev,N_Detections\n\
        1,6,SIX,ENSG6,0.75,0,1\n2,4,FOUR,ENSG4,0.5,0,3\n3,5,FIVE,ENSG5,0.25,0,3\n";
    std::fs::write(folder.path().join("ranking.csv"), ranking).unwrap();
    folder
}

fn tables(folder: &Path) -> Vec<std::path::PathBuf> {
    ReportInput::from_run(folder).unwrap().tables
}

#[test]
fn runs_are_summed_up() {
    let folder = run_folder(SETTINGS);
    let path = folder.path();
    let goal = ",Gene,Gene_name,Ensembl_ID,Shift_to_goal_end,Shift_to_alt_end_ill,\
        Goal_end_FDR,Alt_end_FDR_ill,N_Detections,Sig\n\
        0,4,FOUR,ENSG4,0.25,,0.01,0.5,3,1\n1,5,FIVE,ENSG5,-0.5,0.125,0.5,0.5,3,0\n";
    std::fs::write(path.join("goal.csv"), goal).unwrap();
    let ranking = path.join("ranking.csv");
    let run = load(&path.join("shifts.arrow"), Some(&ranking), &tables(path)).unwrap();
    assert_eq!((run.n_effects, run.cells.len()), (7, 3));
    assert_eq!(run.cells[0], [0.25, 0.5, 0.5, 0.75, 0.75], "nearest of three shifts");
    assert_eq!(run.cells[2], [0.25, 0.25, 0.5, 0.5, 0.5], "nearest of two shifts");
    assert_eq!(run.settings.model, "aa");

    // Gene 6 leads, but only one cell has it.
    let genes = &run.states[0].genes;
    let five = StateGene { name: "FIVE".to_owned(), shift: -0.5, n_detections: 3 };
    assert_eq!((genes.len(), &genes[1]), (2, &five));
    assert!(genes[0].name == "FOUR" && (genes[0].shift - 0.1).abs() < ROUNDING, "{genes:?}");

    let [goal, ill] = run.tests.as_slice() else { panic!("{:?}", run.tests) };
    let four = TestedGene { name: "FOUR".to_owned(), shift: 0.25, fdr: 0.01 };
    assert_eq!((goal.genes.len(), goal.n_untested, &goal.genes[0]), (2, 0, &four));
    assert_eq!((ill.shift.as_str(), ill.n_untested), ("Shift_to_alt_end_ill", 1));
    assert_eq!(ill.genes[0].name, "FIVE");
}

#[test]
fn a_run_folder_is_a_page() {
    let folder = run_folder(SETTINGS);
    let out = folder.path().join("page.html");
    write_report(&ReportInput::from_run(folder.path()).unwrap(), &out).unwrap();
    let page = std::fs::read_to_string(&out).unwrap();
    for text in [
        "<h1>Genome-wide in-silico deletion</h1>",
        "7 edited cells, made of 3",
        "Cells with the gene",
        "<h3>well</h3>",
        "<td>FIVE</td><td class=\"number\">−0.5000",
        "Every gene of a cell, one at a time, was taken out",
        "32-bit floating point",
        "XXH3 aa",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn results_that_do_not_say_what_was_done_are_refused() {
    let folder = run_folder("{}");
    let out = folder.path().join("page.html");
    let input = ReportInput::from_run(folder.path()).unwrap();
    let message = write_report(&input, &out).unwrap_err().to_string();
    assert!(message.contains("shifts.arrow") && message.contains("missing field"), "{message}");
    assert!(!out.exists());
}
