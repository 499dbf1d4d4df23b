//! Which droplets hold a cell: Cell Ranger's own calls, DropletUtils' numbers,
//! and what the test does when nothing but ambient RNA is there.

use gf_corpus::{
    Ambient, Annotation, CallCells, CellRanger22, CountMatrix, DropletCall, EmptyDrops, Error,
    FileLedger, IngestOptions, Role, Threshold, Verdict,
};
use proptest::prelude::*;

use crate::support::{Mex, every_cell, run, shared, text};

/// Totals of pbmc4k and whether Cell Ranger 2.1 called the droplet.
fn pbmc4k() -> Option<(Vec<u64>, Vec<bool>)> {
    let table = text(&shared("data/03_pbmc4k_loom_h5/pbmc4k_raw_barcode_totals.tsv.gz")?);
    let row = |line: &str| {
        let mut cells = line.split('\t').skip(1);
        (cells.next().unwrap().parse::<u64>().unwrap(), cells.next().unwrap() == "1")
    };
    Some(table.lines().skip(1).map(row).unzip())
}

/// The numbers are numpy's for STAR's arithmetic on the same file; wrongly
/// called and wrongly left are against Cell Ranger's 4,340 cells.
#[test]
fn pbmc4k_by_expected_cells() {
    let Some((totals, truth)) = pbmc4k() else { return };
    assert_eq!((totals.len(), truth.iter().filter(|&&cell| cell).count()), (272_442, 4_340));
    let check = |expected_cells, expected: (u64, u64, usize, usize, usize)| {
        let rule = CellRanger22 { expected_cells, ..CellRanger22::default() };
        let found = rule.threshold(&totals).unwrap();
        let differ = |called: bool| {
            let pairs = totals.iter().zip(&truth);
            pairs.filter(|&(&total, &cell)| found.calls(total) == called && cell != called).count()
        };
        let found_all = (
            found.robust_max,
            found.min_counts,
            found.n_called(&totals),
            differ(true),
            differ(false),
        );
        assert_eq!(found_all, expected, "{expected_cells} expected cells");
    };
    check(1_000, (18_717, 1_872, 4_137, 0, 203));
    check(3_000, (15_050, 1_505, 4_297, 0, 43));
    check(4_000, (14_077, 1_408, 4_335, 0, 5));
    check(4_340, (13_967, 1_397, 4_336, 0, 4));
    check(5_000, (13_457, 1_346, 4_349, 9, 0));
    check(10_000, (11_113, 1_111, 4_436, 96, 0));
}

#[test]
fn thresholds_at_the_edges() {
    let check = |totals: &[u64], robust_max, min_counts| {
        let found = CellRanger22::default().threshold(totals).unwrap();
        assert_eq!(found, Threshold { robust_max, min_counts }, "{totals:?}");
    };
    check(&[], 0, 1);
    check(&[0, 0, 0], 0, 1);
    check(&[4], 4, 1);
    check(&[14], 14, 1);
    check(&[15], 15, 2);
    check(&[90, 7_000, 500], 90, 9);
    check(&[u64::MAX; 40], u64::MAX, 1_844_674_407_370_955_264);
    assert_eq!(CellRanger22::default().threshold(&[0, 0]).unwrap().n_called(&[0, 0]), 0);
    let all = CellRanger22 { expected_cells: u64::MAX, quantile: 0.0, ratio: 1.0 };
    assert_eq!(all.threshold(&[3, 9, 5]).unwrap().min_counts, 3);
}

#[test]
fn settings_out_of_range() {
    let check = |quantile, ratio, words: &str| {
        let rule = CellRanger22 { expected_cells: 10, quantile, ratio };
        assert_eq!(rule.threshold(&[1]).unwrap_err().to_string(), words);
    };
    check(1.5, 10.0, "quantile: found 1.5, expected a number from 0 to 1");
    check(f64::NAN, 10.0, "quantile: found NaN, expected a number from 0 to 1");
    check(0.9, 0.0, "ratio: found 0, expected a number of at least 1");
    check(0.9, f64::INFINITY, "ratio: found inf, expected a number of at least 1");
}

proptest! {
    #[test]
    fn laws_of_the_threshold(
        totals in prop::collection::vec(0u64..1 << 40, 1..200),
        expected_cells in 0u64..20_000,
        ratio in 1.0f64..100.0,
        more in 0.0f64..50.0,
    ) {
        let rule = CellRanger22 { expected_cells, ratio, ..CellRanger22::default() };
        let found = rule.threshold(&totals).unwrap();
        let mut sorted = totals.clone();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        prop_assert_eq!(rule.threshold(&sorted).unwrap(), found);
        // The slow version: STAR's, on the sorted totals.
        let rank = (expected_cells as f64 * (1.0 - 0.99)).round() as usize;
        prop_assert_eq!(found.robust_max, sorted[rank.min(sorted.len() - 1)]);
        let scaled: Vec<u64> = totals.iter().map(|total| total * 8).collect();
        let scaled = rule.threshold(&scaled).unwrap();
        prop_assert_eq!(scaled.robust_max, found.robust_max * 8);
        prop_assert!(scaled.min_counts.abs_diff(found.min_counts * 8) <= 8);
        let laxer = CellRanger22 { ratio: ratio + more, ..rule }.threshold(&totals).unwrap();
        prop_assert!(laxer.min_counts <= found.min_counts);
        prop_assert!(laxer.n_called(&totals) >= found.n_called(&totals));
    }
}

/// No droplet is a cell by its total.
const NO_CELLS: Threshold = Threshold { robust_max: u64::MAX, min_counts: u64::MAX };

fn small() -> EmptyDrops {
    EmptyDrops {
        ambient: Ambient::AtMost { counts: 100 },
        min_counts: 101,
        ..EmptyDrops::default()
    }
}

fn call(options: &EmptyDrops, rows: &CountMatrix) -> Result<Vec<DropletCall>, Error> {
    let total = |(_, counts): (&[u32], &[u32])| counts.iter().copied().map(u64::from).sum();
    let totals: Vec<u64> = rows.rows().map(total).collect();
    let mut droplets = options.plan(&totals, NO_CELLS)?.rows(rows.n_genes());
    rows.rows().try_for_each(|row| droplets.push(row))?;
    droplets.finish()
}

/// Log-probabilities agree to the digits printed.
const PRINTED: f64 = 1e-12;
/// Standard errors by which two Monte-Carlo p-values may differ: 35 droplets.
const STANDARD_ERRORS: f64 = 4.5;

/// What tests/data/droplets.R wrote of DropletUtils 1.18.1 (multinomial, 1e5
/// random droplets).
#[test]
fn the_numbers_of_droplet_utils() {
    let table = include_str!("../data/droplets.tsv");
    let (mut rows, mut expected) = (CountMatrix::new(200), Vec::new());
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let entry = |text: &str| {
            let (gene, count) = text.split_once(':').unwrap();
            (gene.parse().unwrap(), count.parse().unwrap())
        };
        rows.push_row(cells[3].split(' ').map(entry).collect()).unwrap();
        if cells[1] != "NA" {
            let number = |at: usize| cells[at].parse::<f64>().unwrap();
            expected.push((number(0), number(1), number(2)));
        }
    }
    let simulations = 100_000;
    let calls = call(&EmptyDrops { simulations, ..small() }, &rows).unwrap();
    assert_eq!((calls.len(), expected.len()), (35, 35));
    for (call, &(total, log_probability, p_value)) in calls.iter().zip(&expected) {
        let found = call.log_probability;
        assert_eq!(call.total as f64, total);
        assert!((found / log_probability - 1.0).abs() < PRINTED, "{call:?}, {log_probability}");
        let n = f64::from(simulations);
        let error = (2.0 * p_value * (1.0 - p_value) / n).sqrt() + 1.0 / n;
        assert!((call.p_value - p_value).abs() < STANDARD_ERRORS * error, "{call:?}, {p_value}");
    }
}

/// Draws droplets from shares of genes, for tests only.
struct Draws {
    cumulative: Vec<f64>,
    state: u64,
}

impl Draws {
    fn new(shares: &[f64], state: u64) -> Self {
        let sum: f64 = shares.iter().sum();
        let mut up_to = 0.0;
        let cumulative = shares.iter().map(|share| {
            up_to += share / sum;
            up_to
        });
        Self { cumulative: cumulative.collect(), state }
    }

    /// Splitmix64, so that the test's randomness is not the code's.
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn droplet(&mut self, total: u64) -> Vec<(u32, u32)> {
        let mut gene = || {
            let at = self.unit();
            let gene = self.cumulative.partition_point(|&up_to| up_to <= at);
            gene.min(self.cumulative.len() - 1) as u32
        };
        (0..total).map(|_| (gene(), 1)).collect()
    }
}

/// 300 genes; 8,000 ambient droplets of 50 counts, then 1,000 of 150 from the
/// same profile. With ten times the genes the profile's own error would show.
fn null() -> CountMatrix {
    let shares: Vec<f64> = (1..=300).map(|gene| 1.0 / f64::from(gene)).collect();
    let mut draws = Draws::new(&shares, 11);
    let mut rows = CountMatrix::new(300);
    for droplet in 0..9_000 {
        rows.push_row(draws.droplet(if droplet < 8_000 { 50 } else { 150 })).unwrap();
    }
    rows
}

/// Kolmogorov and Smirnov's statistic of 1,000 candidates against the 10,000
/// random droplets they share is above this once in a thousand
/// (1.95 √(1/1,000 + 1/10,000)).
const KOLMOGOROV: f64 = 0.0647;

#[test]
fn under_the_null_p_values_are_uniform() {
    let calls = call(&small(), &null()).unwrap();
    let mut p_values: Vec<f64> = calls.iter().map(|call| call.p_value).collect();
    p_values.sort_by(f64::total_cmp);
    let n = p_values.len() as f64;
    let apart =
        |(rank, p): (usize, &f64)| (p - rank as f64 / n).abs().max((rank as f64 + 1.0) / n - p);
    let farthest = p_values.iter().enumerate().map(apart).fold(0.0, f64::max);
    eprintln!("null: D = {farthest:.4} over {n} droplets");
    assert_eq!(calls.len(), 1_000);
    assert!(farthest < KOLMOGOROV, "{farthest}");
    assert_eq!(calls.iter().filter(|call| call.is_cell).count(), 0);
}

#[test]
fn the_same_on_any_number_of_threads() {
    let rows = null();
    let options = EmptyDrops { simulations: 200, ..small() };
    let on = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| call(&options, &rows).unwrap())
    };
    assert_eq!(on(1), on(5));
    assert_ne!(on(1), call(&EmptyDrops { seed: 1, ..options }, &rows).unwrap());
}

/// The counts of each cell of pbmc1k over the corpus's genes.
fn pbmc1k() -> Option<Vec<Vec<f64>>> {
    let path = shared("data/01_pbmc1k_v2_mex/filtered_feature_bc_matrix")?;
    let (_folder, corpus, _) = crate::support::lenient(&[path], None).unwrap();
    let mut cells = Vec::new();
    for block in corpus.blocks() {
        for (genes, counts) in block.unwrap().counts.rows() {
            let mut cell = vec![0.0; corpus.genes().len()];
            for (&gene, &count) in genes.iter().zip(counts) {
                cell[gene as usize] = f64::from(count);
            }
            cells.push(cell);
        }
    }
    Some(cells)
}

/// How many of 300 real cells and of 300 droplets drawn from the cells' pooled
/// profile are called, all of so many counts.
fn called_of_300(cells: &[Vec<f64>], counts: u64) -> (usize, usize) {
    let n_genes = cells[0].len();
    let pool: Vec<f64> =
        (0..n_genes).map(|gene| cells.iter().map(|cell| cell[gene]).sum()).collect();
    let mut rows = CountMatrix::new(n_genes);
    let mut ambient = Draws::new(&pool, 5);
    for total in [50; 6_000].into_iter().chain([counts; 300]) {
        rows.push_row(ambient.droplet(total)).unwrap();
    }
    for (state, cell) in cells.iter().take(300).enumerate() {
        rows.push_row(Draws::new(cell, state as u64).droplet(counts)).unwrap();
    }
    let calls = call(&small(), &rows).unwrap();
    let n_called = |calls: &[DropletCall]| calls.iter().filter(|call| call.is_cell).count();
    (n_called(&calls[300..]), n_called(&calls[..300]))
}

#[test]
fn real_cells_among_their_own_ambient() {
    let Some(cells) = pbmc1k() else { return };
    let found = [250, 500, 1_000].map(|counts| called_of_300(&cells, counts));
    eprintln!("pbmc1k at 250, 500, 1,000 counts: (cells, empty) called of 300 each: {found:?}");
    // Blood pooled is mostly T cells: its ambient hides them until they have
    // more counts. Of the calls, 1 % may be false: three at most on average.
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{found:?}");
    assert!(found.iter().all(|&(_, empty)| empty <= 9), "{found:?}");
}

/// Droplets 0 to 19 are large cells, 20 to 49 small ones of few genes, 50 to 79 as small and
/// ambient, and 2,000 ambient ones of 50 counts follow.
fn unfiltered() -> Mex {
    let shares = |of: fn(usize) -> f64| Draws::new(&(1..=300).map(of).collect::<Vec<f64>>(), 3);
    let mut ambient = shares(|gene| 1.0 / gene as f64);
    let mut cell = shares(|gene| f64::from(gene > 250));
    let droplets = (0..2_080).map(|droplet| match droplet {
        0..20 => cell.droplet(5_000),
        20..50 => cell.droplet(300),
        50..80 => ambient.droplet(300),
        _ => ambient.droplet(50),
    });
    let entries: Vec<(usize, usize, &str)> = droplets
        .enumerate()
        .flat_map(|(droplet, row)| row.into_iter().map(move |(gene, _)| (gene, droplet)))
        .map(|(gene, droplet)| (gene as usize, droplet, "1"))
        .collect();
    let genes = Annotation::shipped().unwrap().genes();
    let ids: Vec<String> = genes.iter().take(300).map(|gene| gene.id.to_string()).collect();
    Mex::new(&ids.iter().map(String::as_str).collect::<Vec<_>>(), 2_080, &entries)
}

fn ingested(mex: &Mex, droplets: CallCells) -> Result<(Vec<String>, FileLedger), Error> {
    let folder = tempfile::tempdir().unwrap();
    let input = mex.write(folder.path(), "");
    let options = IngestOptions { droplets: Some(droplets), ..every_cell() };
    let (_corpus, corpus, ledger) = run(&[input], &options)?;
    let ids = corpus.blocks().flat_map(|block| block.unwrap().cell_ids).collect();
    Ok((ids, ledger.files.into_iter().next().unwrap()))
}

#[test]
fn an_ingest_calls_cells_by_totals_and_by_genes() {
    let mex = unfiltered();
    let names = |droplets: std::ops::Range<usize>| -> Vec<String> {
        droplets.map(|droplet| format!("CELL{droplet}-1")).collect()
    };
    let by_totals = CellRanger22 { expected_cells: 20, ..CellRanger22::default() };
    let (ids, file) = ingested(&mex, CallCells { by_totals, by_genes: None }).unwrap();
    assert_eq!(ids, names(0..20));
    assert_eq!((file.droplet_threshold, file.droplet_test), (Some(500), None));

    let test = EmptyDrops { min_counts: 101, simulations: 2_000, ..small() };
    let (ids, file) = ingested(&mex, CallCells { by_totals, by_genes: Some(test) }).unwrap();
    assert_eq!(ids, names(0..50));
    let found = file.droplet_test.unwrap();
    assert_eq!((found.n_ambient, found.n_candidates, found.n_cells), (2_000, 60, 30));
    assert_eq!(file.cells.dropped[&Verdict::EmptyDroplet], 2_030);
}

#[test]
fn without_ambient_droplets_nothing_is_tested() {
    let by_totals = CellRanger22 { expected_cells: 20, ..CellRanger22::default() };
    let test = EmptyDrops { min_counts: 40, ..EmptyDrops::default() };
    let droplets = CallCells { by_totals, by_genes: Some(test) };
    let (ids, file) = ingested(&unfiltered(), droplets).unwrap();
    let found = file.droplet_test.unwrap();
    assert_eq!((found.n_ambient, found.n_candidates, found.n_cells), (0, 2_060, 0));
    assert_eq!(ids.len(), 20);
}

#[test]
fn roles_by_rank_and_by_count() {
    let totals = [5, 900, 40, 700, 2_000, 0, 600, 30, 40];
    let cells = Threshold { robust_max: 10_000, min_counts: 1_000 };
    let check = |options: EmptyDrops, expected: &str| {
        let plan = options.plan(&totals, cells).unwrap();
        let letter = |role: &Role| match role {
            Role::Cell => 'C',
            Role::Candidate => 'c',
            Role::Ambient => 'a',
            Role::Ignored => '.',
        };
        assert_eq!(plan.roles().iter().map(letter).collect::<String>(), expected, "{options:?}");
    };
    let ranks =
        |from, to| EmptyDrops { ambient: Ambient::Ranks { from, to }, ..Default::default() };
    check(ranks(4, 7), ".cacC.caa");
    check(ranks(5, 6), ".c.cC.c.a");
    check(ranks(7, 90), "ac.cC.c..");
    check(ranks(2, 4), ".c.aC.a..");
    check(EmptyDrops { max_candidates: 2, ..ranks(4, 7) }, ".cacC..aa");
    check(EmptyDrops { min_counts: 601, ..ranks(4, 7) }, ".cacC..aa");
    check(EmptyDrops { min_median_share: 0.4, ..ranks(4, 7) }, ".ca.C..aa");
}

#[test]
fn droplets_that_do_not_fit() {
    let options = small();
    let plan = || options.plan(&[50, 200], NO_CELLS).unwrap().rows(3);
    let push = |rows: &[(&[u32], &[u32])]| {
        let mut droplets = plan();
        rows.iter().try_for_each(|&row| droplets.push(row))?;
        droplets.finish()
    };
    let check = |rows: &[(&[u32], &[u32])], words: &str| {
        assert_eq!(push(rows).unwrap_err().to_string(), words);
    };
    check(&[(&[0], &[50])], "droplet 1: droplets: found 1, expected 2");
    check(
        &[(&[0], &[50]), (&[0], &[50]), (&[0], &[50])],
        "droplet 2: droplets: found 3, expected 2",
    );
    check(
        &[(&[3], &[50])],
        "droplet 0: a gene index below the number of genes: found 3, expected 3",
    );
    check(&[(&[1, 2], &[50])], "droplet 0: counts: found 1, expected 2");
    check(
        &[(&[0, 1], &[20, 30]), (&[2], &[200])],
        "1 ambient droplets with 50 counts have 2 distinct counts a gene, expected at least 5",
    );
    let none = options.plan(&[], NO_CELLS).unwrap().rows(0).finish().unwrap();
    assert_eq!(none, []);
}

#[test]
fn simulations_have_an_end() {
    let row: Vec<(u32, u32)> = (0..6).map(|gene| (gene, gene + 1)).collect();
    let mut rows = CountMatrix::new(6);
    rows.push_row(row).unwrap();
    rows.push_row(vec![(0, u32::MAX)]).unwrap();
    let error = call(&small(), &rows).unwrap_err().to_string();
    assert!(error.contains("simulations: found 10000 for 4294967295 counts"), "{error}");
    for options in [
        EmptyDrops { simulations: 0, ..small() },
        EmptyDrops { fdr: f64::NAN, ..small() },
        EmptyDrops { min_median_share: -1.0, ..small() },
    ] {
        assert!(matches!(options.plan(&[1], NO_CELLS), Err(Error::Setting { .. })), "{options:?}");
    }
}
