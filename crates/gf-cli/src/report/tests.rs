//! The page as a whole: what it holds, what it leaves out, what it escapes.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use gf_corpus::SourceTally;

use super::{
    ReportInput,
    facts::{CellMap, CellPoint, Count, Facts, LogPoint, Quality, RankedGene, Tokens, Training},
    page,
    perturbation::{Perturbation, Settings, StateGene, StateGenes, Tested, TestedGene},
    write_report,
};

fn gene(rank: u64, name: &str, shift: f64) -> RankedGene {
    RankedGene {
        rank,
        name: name.to_string(),
        ensembl_id: format!("ENSG{rank:011}"),
        shift,
        spread: shift / 2.0,
        detections: 1200 + rank,
    }
}

fn point(i: usize) -> CellPoint {
    CellPoint { cell_id: format!("cell-{i}"), position: [i as f64, -(i as f64)], group: i % 2 }
}

fn training() -> Training {
    let point = |i| LogPoint { step: f64::from(i), epoch: 2.0, loss: 9.0 / f64::from(i) };
    Training { log: (1..=50).map(point).collect(), held_out: vec![point(25), point(36)] }
}

fn tally(source_database: &str, cells: u64, unique_cells: u64) -> SourceTally {
    let source_database = source_database.to_owned();
    SourceTally { source_database, studies: 2, superseded_studies: 1, cells, unique_cells }
}

/// A small run with every part.
fn facts() -> Facts {
    Facts {
        title: Some("A small run".to_string()),
        quality: Some(Quality {
            sources: vec!["cells.h5ad".to_string()],
            cells_read: 2000,
            cells_kept: 1500,
            cells_dropped: vec![Count::new("No counts at all", 500)],
            gene_rows: vec![Count::new("Current symbol", 30_000), Count::new("Alias", 10_000)],
            genes: 39_000,
            counts_read: 1_000_000,
            counts_kept: 990_000,
            databases: vec![tally("CELLxGENE", 1200, 1200), tally("GEO", 800, 300)],
        }),
        tokens: Some(Tokens { genes_per_cell: (100..1600).collect(), vocabulary: Some(20_275) }),
        training: Some(training()),
        map: Some(CellMap {
            points: (0..20).map(point).collect(),
            groups: vec![Count::new("B cell", 10), Count::new("No marker", 10)],
            explained: [0.5, 0.25],
            dimensions: 64,
            column: None,
        }),
        genes: Some(vec![gene(1, "GATA4", 0.02), gene(2, "TBX5", 0.01)]),
        perturbation: Some(perturbation()),
        commands: vec!["gf ingest cells.h5ad -o corpus".to_string()],
        versions: vec![("gf".to_string(), "0.1.0".to_string())],
    }
}

/// A run with every part.
fn perturbation() -> Perturbation {
    let tested = |name: &str, shift, fdr| TestedGene { name: name.to_string(), shift, fdr };
    Perturbation {
        settings: Settings {
            gf: "0.1.0".to_string(),
            model: "00ff".to_string(),
            edit: "Overexpress".to_string(),
            targets: "Each([TokenId(5), TokenId(12)])".to_string(),
            layer: "SecondToLast".to_string(),
            readout: "Cls".to_string(),
            precision: "Int8".to_string(),
            ..Settings::default()
        },
        n_effects: 4321,
        cells: vec![[1e-5, 2e-5, 3e-5, 4e-5, 9e-5], [0.0, 2e-5, 4e-5, 5e-5, 2e-4]],
        states: vec![StateGenes {
            state: "dilated".to_string(),
            genes: vec![StateGene { name: "PLN".to_string(), shift: -0.25, n_detections: 7 }],
        }],
        tests: vec![Tested {
            file: "goal.csv".to_string(),
            shift: "Shift_to_goal_end".to_string(),
            genes: vec![tested("TTN", 0.01, 1e-9), tested("ACTB", -0.002, 0.5)],
            n_untested: 3,
        }],
    }
}

const SECTIONS: [&str; 10] = [
    "quality", "tokens", "training", "map", "effects", "states", "spread", "genes", "methods",
    "commands",
];

fn has_section(html: &str, name: &str) -> bool {
    html.contains(&format!("<section id=\"{name}\">"))
}

#[test]
fn holds_every_part() {
    let html = page::render(&facts()).unwrap();
    for name in SECTIONS {
        assert!(has_section(&html, name), "{name}");
    }
    for text in [
        "<h1>A small run</h1>",
        "1,500 cells · 75.0 %",
        "No counts at all",
        "25.0 %",
        "39,000",
        "99.0 %",
        "median 850",
        "20,275",
        "held out it is 0.25",
        "9.92",
        "carry 75 %",
        "MS4A1, CD79A, CD19",
        "GATA4",
        "0.02000",
        "1,201",
        "CELLxGENE",
        "37.5 %",
        "gf ingest cells.h5ad -o corpus",
        "gf 0.1.0",
        "4,321 edited cells, made of 2",
        "1 of 2 tested genes",
        "3 without a number",
        "<td>PLN</td><td class=\"number\">−0.2500",
        "Genes whose overexpression moves",
        "Each of 2 listed genes was put first in the encoding of the cell in silico",
        "XXH3 00ff",
        "8-bit integer projections",
    ] {
        assert!(html.contains(text), "{text}");
    }
    assert_eq!(
        html.matches("<svg viewBox").count(),
        7,
        "databases, histogram, loss, map, volcano, cells, genes"
    );
}

#[test]
fn needs_no_network() {
    let html = page::render(&facts()).unwrap();
    let html = html.replace("http://www.w3.org/2000/svg", "");
    for word in ["http://", "https://", "//cdn", "@import", "<link", "src="] {
        assert!(!html.contains(word), "{word}");
    }
}

/// The page with one part removed lacks that section and no other.
fn check_left_out(name: &str, remove: fn(&mut Facts)) {
    check_all_left_out(&[name], remove);
}

fn check_all_left_out(names: &[&str], remove: fn(&mut Facts)) {
    let mut facts = facts();
    remove(&mut facts);
    let html = page::render(&facts).unwrap();
    for section in SECTIONS {
        let is_there = !names.contains(&section);
        assert_eq!(has_section(&html, section), is_there, "{section} without {names:?}");
        let is_listed = html.contains(&format!("href=\"#{section}\""));
        assert_eq!(is_listed, is_there, "{section} in the contents without {names:?}");
    }
}

fn run(facts: &mut Facts) -> &mut Perturbation {
    facts.perturbation.as_mut().unwrap()
}

#[test]
fn missing_parts_are_left_out() {
    check_left_out("quality", |f| f.quality = None);
    check_left_out("tokens", |f| f.tokens = None);
    check_left_out("training", |f| f.training = None);
    check_left_out("map", |f| f.map = None);
    check_left_out("genes", |f| f.genes = None);
    check_left_out("commands", |f| f.commands.clear());
    check_left_out("states", |f| run(f).states.clear());
    check_left_out("spread", |f| run(f).cells.truncate(1));
    check_all_left_out(&["effects", "states", "spread", "methods"], |f| f.perturbation = None);
    check_left_out("genes", |f| f.genes = Some(Vec::new()));
    check_left_out("training", |f| f.training = Some(Training::default()));
}

/// Without tests the shifts stand against the cells that have the gene.
#[test]
fn untested_genes_are_drawn_by_their_detections() {
    let mut facts = facts();
    run(&mut facts).tests.clear();
    let html = page::render(&facts).unwrap();
    assert!(html.contains("Cells with the gene") && !html.contains("false discovery rate below"));
}

#[test]
fn small_shifts_are_given_in_powers_of_ten() {
    let mut facts = facts();
    let alone = RankedGene { detections: 1, ..gene(2, "TBX5", 2e-7) };
    facts.genes = Some(vec![gene(1, "GATA4", 3.5e-7), alone]);
    let html = page::render(&facts).unwrap();
    for text in ["Shift, mean (× 10⁻⁷)", ">3.500<", ">1.750<", ">2.000<", ">–<"] {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("rounding errors"));
}

#[test]
fn an_empty_run_is_a_page() {
    let html = page::render(&Facts::default()).unwrap();
    assert!(SECTIONS.iter().all(|name| !has_section(&html, name)));
    assert!(html.trim_end().ends_with("</html>"));
}

#[test]
fn hostile_names_are_escaped() {
    const HOSTILE: &str = "<script>alert('$x$ & \"y\"')</script>";
    let mut facts = facts();
    facts.title = Some(HOSTILE.to_string());
    facts.commands = vec![HOSTILE.to_string()];
    facts.versions = vec![(HOSTILE.to_string(), HOSTILE.to_string())];
    facts.genes = Some(vec![gene(1, HOSTILE, 0.5)]);
    let quality = facts.quality.as_mut().unwrap();
    quality.sources = vec![HOSTILE.to_string()];
    quality.cells_dropped[0].label = HOSTILE.to_string();
    let map = facts.map.as_mut().unwrap();
    map.groups[0].label = HOSTILE.to_string();
    map.column = Some(HOSTILE.to_string());
    map.points[0].cell_id = HOSTILE.to_string();
    let run = run(&mut facts);
    run.settings.gf = HOSTILE.to_string();
    run.settings.targets = HOSTILE.to_string();
    run.states[0].state = HOSTILE.to_string();
    run.states[0].genes[0].name = HOSTILE.to_string();
    run.tests[0].file = HOSTILE.to_string();
    run.tests[0].shift = HOSTILE.to_string();
    run.tests[0].genes[0].name = HOSTILE.to_string();
    let html = page::render(&facts).unwrap();
    assert_eq!(html.matches("<script>").count(), 1, "the page's own");
    assert!(!html.contains("alert('"));
    assert!(html.contains("&lt;script&gt;"));
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// A run folder with a log, embeddings and a ranking.
fn run_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pretrain", "perturb"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let at = |name: &str| folder.path().join(name);
    write(&at("commands.txt"), "gf embed\ngf report\n");
    write(
        &at("pretrain/log.csv"),
        "step,epoch,loss,learning_rate,grad_norm,tokens_per_second\n1,1,9.5,0.1,1,100\n2,1,8.5,0.1,1,100\n",
    );
    write(&at("embeddings.csv"), "cell_id,0,1\na,1,2\nb,2,1\nc,4,4\n");
    write(
        &at("perturb/ranking.csv"),
        "Rank,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean,Cosine_shift_stdev,N_Detections\n1,77,GATA4,ENSG00000136574,0.25,0.05,3\n",
    );
    folder
}

#[test]
fn writes_what_a_run_folder_holds() {
    let folder = run_folder();
    let out = folder.path().join("report.html");
    let input = ReportInput::from_run(folder.path()).unwrap();
    write_report(&input, &out).unwrap();
    let html = std::fs::read_to_string(&out).unwrap();
    let found = SECTIONS.map(|name| has_section(&html, name));
    let present = ["training", "map", "genes", "commands"];
    assert_eq!(found, SECTIONS.map(|name| present.contains(&name)));
    for text in
        ["from 9.5 to 8.5", "3 cell embeddings of 2 numbers", "GATA4", "gf embed\ngf report"]
    {
        assert!(html.contains(text), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn others_may_read_the_page() {
    use std::os::unix::fs::PermissionsExt;
    let folder = run_folder();
    let mode = |name: &str| {
        let file = std::fs::metadata(folder.path().join(name)).unwrap();
        file.permissions().mode()
    };
    let input = ReportInput::from_run(folder.path()).unwrap();
    write_report(&input, &folder.path().join("report.html")).unwrap();
    assert_eq!(mode("report.html"), mode("commands.txt"), "as any file written here");
}

/// The message of a report on a run folder in which one file says something else.
fn check_refused(name: &str, text: &str, expected: &str) {
    let folder = run_folder();
    write(&folder.path().join(name), text);
    let input = ReportInput::from_run(folder.path()).unwrap();
    let message = write_report(&input, &folder.path().join("report.html")).unwrap_err().to_string();
    assert!(message.contains(expected) && message.contains(name), "{message}");
    assert!(!folder.path().join("report.html").exists());
}

#[test]
fn broken_files_are_refused() {
    check_refused(
        "embeddings.csv",
        "cell_id,0\na,1\nb,x\n",
        "data row 2, column 0: found \"x\", expected a finite number",
    );
    check_refused("embeddings.csv", "cell_id,0,1\na,1\n", "found record with 2 fields");
    check_refused("pretrain/log.csv", "step,epoch\n1,1\n", "missing field `loss`");
    check_refused("perturb/ranking.csv", "Rank,Gene\n1,7\n", "missing field");
}
