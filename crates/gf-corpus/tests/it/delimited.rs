//! Tables of text: either way round, real ones and hostile ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gf_corpus::{CountSource, Error, SourceOptions, open_source};
use proptest::prelude::*;

use crate::support::{SYMBOLS, Triplets, column, lenient, shared, text, triplets, write};

/// Cells a source is asked for at a time: fewer than the tables have.
const FEW: usize = 7;

fn open(path: &Path) -> Result<Box<dyn CountSource>, Error> {
    open_source(path, &SourceOptions::default())
}

/// Counts by cell and row name of the file, those of one name summed.
fn counts(path: &Path) -> Result<Triplets, Error> {
    let mut source = open(path)?;
    let mut all = Triplets::new();
    let mut n_cells = 0;
    while let Some(block) = source.next_block(FEW)? {
        n_cells += block.cell_ids.len();
        assert!(block.columns.iter().all(|column| column.len() == block.cell_ids.len()));
        for (cell, (rows, values)) in block.cell_ids.iter().zip(block.counts.rows()) {
            for (&row, &value) in rows.iter().zip(values) {
                let key = (cell.clone(), source.genes()[row as usize].id.clone());
                *all.entry(key).or_default() += u64::from(value);
            }
        }
    }
    assert_eq!(n_cells, source.n_cells());
    Ok(all)
}

/// Writes a table under a name and reads it.
fn read(name: &str, table: &str) -> Result<Triplets, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path, table);
    counts(&path)
}

/// The same counts the slow and obvious way: no quotes inside names, one
/// delimiter, whole numbers after rounding.
fn obvious(path: &Path, delimiter: char, is_cells_by_genes: bool) -> Triplets {
    let table = text(path).replace('"', "");
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split(delimiter).collect();
    let mut all = Triplets::new();
    for line in lines {
        let fields: Vec<&str> = line.split(delimiter).collect();
        let names = &header[header.len() + 1 - fields.len()..];
        for (name, value) in names.iter().zip(&fields[1..]) {
            let value = value.parse::<f64>().unwrap().round() as u64;
            let (first, name) = (fields[0].to_owned(), (*name).to_owned());
            let key = if is_cells_by_genes { (first, name) } else { (name, first) };
            if value > 0 {
                *all.entry(key).or_default() += value;
            }
        }
    }
    all
}

/// Checks a real table: its size, its sum where INDEX.md gives one, every entry.
#[track_caller]
fn golden(path: &str, delimiter: char, is_cells_by_genes: bool, size: (usize, usize), sum: u64) {
    let Some(path) = shared(path) else { return };
    let source = open(&path).unwrap();
    assert_eq!((source.n_cells(), source.genes().len()), size);
    let found = counts(&path).unwrap();
    assert_eq!(found.values().sum::<u64>(), sum);
    assert!(found == obvious(&path, delimiter, is_cells_by_genes), "entries differ");
}

#[test]
fn cells_by_genes_without_ids() {
    let cells = |entries: &[(&str, &str, u64)]| -> Triplets {
        entries.iter().map(|&(cell, gene, n)| ((cell.into(), gene.into()), n)).collect()
    };
    let expected = cells(&[("1", "TP53", 3), ("1", "ACTB", 1), ("2", "GATA4", 9)]);
    assert_eq!(read("x.csv", "TP53,ACTB,GATA4\n3,1,0\n0,0,9\n").unwrap(), expected);
    // A column called as a gene holds ids all the same if they are no numbers.
    let expected = cells(&[("c1", "ACTB", 1), ("c2", "GATA4", 9)]);
    assert_eq!(read("x.csv", "TP53,ACTB,GATA4\nc1,1,0\nc2,0,9\n").unwrap(), expected);
    // And so does one that has another name, or none.
    let expected = cells(&[("3", "ACTB", 1), ("0", "GATA4", 9)]);
    assert_eq!(read("x.csv", "cell,ACTB,GATA4\n3,1,0\n0,0,9\n").unwrap(), expected);
    assert_eq!(read("x.csv", ",ACTB,GATA4\n3,1,0\n0,0,9\n").unwrap(), expected);
}

// Sums by `pandas.read_csv(path, sep=…, index_col=0).round().values.sum()`, in
// agreement with what INDEX.md says of 04 in millions.
#[test]
fn genes_by_cells_04_celseq2() {
    golden("data/04_sc_mixology/sc_celseq2.count.csv.gz", ',', false, (274, 28_204), 10_321_416);
}

#[test]
fn genes_by_cells_04_dropseq() {
    golden("data/04_sc_mixology/sc_dropseq.count.csv.gz", ',', false, (225, 15_127), 5_830_998);
}

#[test]
fn cells_by_genes_13_with_float_noise() {
    let path = "data/13_celltypist_cells_x_genes_csv/sample_cell_by_gene_100.csv.gz";
    golden(path, ',', true, (100, 32_786), 459_580);
}

#[test]
fn small_tables_16() {
    let folder = "data/16_small_symbol_matrices";
    golden(&format!("{folder}/sctransform_pbmc_914x283.csv.gz"), ',', false, (283, 914), 352_187);
    golden(&format!("{folder}/seurat_pbmc_raw_230x80.txt"), '\t', false, (80, 230), 19_633);
}

/// What every writing of one small table says.
fn expected() -> Triplets {
    [(("cell1", "ACTB"), 5), (("cell1", "CD14"), 1), (("cell2", "ACTB"), 7), (("cell3", "CD14"), 2)]
        .map(|((cell, gene), n)| ((cell.to_owned(), gene.to_owned()), n))
        .into()
}

#[test]
fn one_table_written_in_many_ways() {
    #[track_caller]
    fn check(name: &str, table: &str) {
        assert_eq!(read(name, table).unwrap(), expected(), "{table:?}");
    }
    check("a.csv", ",cell1,cell2,cell3\nACTB,5,7,0\nCD14,1,0,2\n");
    check("a.csv.gz", "gene,cell1,cell2,cell3\nACTB,5,7,0\nCD14,1,0,2\n");
    check("a.TSV", "cell1\tcell2\tcell3\nACTB\t5\t7\t0\nCD14\t1\t0\t2");
    check("a.txt", "\"cell1\" \"cell2\" \"cell3\"\n\"ACTB\" 5 7 0\n\"CD14\" 1 0 2\n");
    check("a.csv", ";cell1;cell2;cell3\r\nACTB;5;7;0\r\nCD14;1;0;2\r\n");
    check(
        "a.csv",
        "\u{feff}\"\",\"cell1\",\"cell2\",\"cell3\"\n\"ACTB\",\"5\",\"7\",\"0\"\nCD14,1,0,2\n\n\n",
    );
    check("a.csv", ",cell1,cell2,cell3\nACTB, 5,7.0,0\nCD14,1e0,0,1.9999999999\n");
    check("a.csv", "id,symbol,cell1,cell2,cell3\nACTB,actin,5,7,0\nCD14,a cluster,1,0,2\n");
    check("a.csv", ",ACTB,CD14\ncell1,5,1\ncell2,7,0\ncell3,0,2\n");
    check("a.tsv", "ACTB\tCD14\ncell1\t5\t1\ncell2\t7\t0\ncell3\t0\t2\n");
    check("a.csv", "cell,donor,ACTB,CD14\ncell1,d1,5,1\ncell2,d1,7,0\ncell3,NA,0,2\n");
    check("a.csv", "cell,ACTB,ACTB,CD14\ncell1,2,3,1\ncell2,0,7,0\ncell3,0,0,2\n");
}

#[test]
fn names_of_a_second_column_and_metadata_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let genes = folder.path().join("genes.csv");
    write(&genes, "id,symbol,cell1\nENSG00000075624,ACTB,5\nENSG00000170458,CD14,1\n");
    assert_eq!(open(&genes).unwrap().genes()[1].symbol.as_deref(), Some("CD14"));

    // Of the columns that are no genes, text is metadata and numbers are rows
    // that mapping does not know.
    let cells = folder.path().join("cells.csv");
    write(&cells, "cell,donor,batch,ACTB,CD14\ncell1,\"d,1\",9,5,1\ncell2,NA,8,7,1\n");
    let (_folder, corpus, ledger) = lenient(&[cells], None).unwrap();
    assert_eq!(column(&corpus, "donor"), [Some("d,1".to_owned()), None]);
    assert_eq!((ledger.files[0].unknown.rows, ledger.files[0].unknown.counts), (1, 17));
    assert_eq!(triplets(&corpus).len(), 4);
}

#[test]
fn other_species_reach_the_mapping() {
    #[track_caller]
    fn check(table: &str, word: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        write(&path, table);
        let message = lenient(&[path], None).err().unwrap().to_string();
        assert!(message.contains(word), "{message}");
    }
    check(",cell1,cell2\nENSMUSG00000029580,5,1\nENSMUSG00000029581,5,1\n", "a gene of mouse");
    check(",Actb,Gapdh,Cd14\ncell1,5,1,1\ncell2,5,1,0\n", "mouse writes them so");
}

#[track_caller]
fn refused(table: &str, words: &[&str]) {
    let message = read("a.csv", table).expect_err("it was read").to_string();
    for word in words.iter().chain(&["a.csv"]) {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[test]
fn values_that_are_no_counts() {
    for bad in ["-1", "0.5", "NA", "", "NaN", "inf", "1e400", "4294967296", "x", "\"1"] {
        let found = &format!("found {bad},");
        refused(
            &format!(",cell1,cell2\nACTB,1,2\nCD14,{bad},3\n"),
            &["line 3", "cell cell1", "gene CD14", if bad == "\"1" { "line 3" } else { found }],
        );
        refused(
            &format!(",ACTB,CD14\ncell1,1,2\ncell2,4,{bad}\n"),
            &["line 3", "cell cell2", "gene CD14", if bad == "\"1" { "line 3" } else { found }],
        );
    }
    // A third column of text, as featureCounts and annotated tables have.
    refused(
        "id,name,kind,cell1\nACTB,x,coding,1\nCD14,y,coding,2\n",
        &["gene ACTB", "found coding"],
    );
}

#[test]
fn broken_tables() {
    refused("", &["line 0", "a header"]);
    refused("a,b\n", &["a row of counts after the header"]);
    refused("abc\ndef\n", &["fields between tabs"]);
    refused("a,b,c\nACTB,1\n", &["fields of line 2", "found 2, expected 3"]);
    refused(",cell1,cell2\nACTB,1,2\nCD14,3\n", &["fields of line 3", "found 2, expected 3"]);
    refused(",cell1,cell2\nACTB,1,2\nCD14,3,4,5\n", &["fields of line 3", "found 4, expected 3"]);
    refused(",ACTB,CD14\ncell1,1,2\ncell2,3\n", &["fields of line 3", "found 2, expected 3"]);
    refused(",ACTB,CD14\ncell1,1,2\n\"cell2,3,4\n", &["fields of line 3", "found 1, expected 3"]);
    refused(",a,b\nc,1,2\n", &["0 gene names in the first column", "\"c\"", "0 in the header"]);
    refused(",ACTB\nCD14,1\n", &["1 gene names in the first column", "1 in the header"]);
    refused("id,symbol\nACTB,x\nCD14,y\n", &["columns of counts", "found 0"]);
    refused(",C\0,D\nACTB,1,2\n", &["line 1", "without NUL"]);
    refused(",ACTB,CD14\n,1,2\n", &["line 2", "a cell id"]);
    refused(",cell1\nACTB,1\nCD\0,1\n", &["line 3", "without NUL"]);
    refused(&format!(",cell1\n{}ACTB,1\n", "\n".repeat(2000)), &["at most 1000 blank lines"]);
}

#[test]
fn text_that_is_not_utf8() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, b",cell1\nACTB,1\nCD\xff,1\n").unwrap();
    let message = counts(&path).unwrap_err().to_string();
    assert!(message.contains("line 3") && message.contains("UTF-8"), "{message}");
}

#[test]
fn several_files_with_the_right_ending_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.xlsx");
    write(&path, ",cell1\nACTB,1\n");
    assert!(matches!(open(&path), Err(Error::UnknownFormat { .. })));
}

/// A table as a proptest bends it: bytes plain or packed.
fn written(folder: &Path, is_gzip: bool, is_turned: bool) -> PathBuf {
    let path = folder.join(if is_gzip { "a.csv.gz" } else { "a.csv" });
    let mut table = String::new();
    if is_turned {
        table += &format!("cell,note,{}\n", SYMBOLS.join(","));
        (0..9).for_each(|cell| table += &format!("cell{cell},\"a,b\",{}\n", ["1"; 10].join(",")));
    } else {
        table += ",cell1,cell2\n";
        SYMBOLS.iter().for_each(|gene| table += &format!("\"{gene}\",1,2\n"));
    }
    write(&path, &table);
    path
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any flipped bit and any cut is read or refused; a packed file that is
    /// cut off or does not match its checksum is never read.
    #[test]
    fn bent_tables_never_panic(
        is_gzip: bool, is_turned: bool, at in 0.0..1.0f64, bit in 0..8u8, is_cut: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), is_gzip, is_turned);
        let good = counts(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = (at * bytes.len() as f64) as usize;
        if is_cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        fs::write(&path, &bytes).unwrap();
        let found = counts(&path);
        if is_gzip && let Ok(found) = found {
            // The bits of the gzip header that say nothing about the content.
            prop_assert!(!is_cut && found == good);
        }
    }

    #[test]
    fn both_ways_round_read_equal(rows in prop::collection::vec([0u32..3000, 0..2, 0..9], 1..9)) {
        let names = |n: usize| (0..n).map(|cell| format!("cell{cell}")).collect::<Vec<_>>();
        let cells = names(rows.len());
        let mut by_cell = format!(",{}\n", SYMBOLS[..3].join(","));
        for (cell, row) in cells.iter().zip(&rows) {
            by_cell += &format!("{cell},{},{},{}\n", row[0], row[1], row[2]);
        }
        let mut by_gene = format!("{}\n", cells.join(","));
        for (gene, symbol) in SYMBOLS[..3].iter().enumerate() {
            let values: Vec<String> = rows.iter().map(|row| row[gene].to_string()).collect();
            by_gene += &format!("{symbol},{}\n", values.join(","));
        }
        prop_assert_eq!(read("a.csv", &by_cell).unwrap(), read("b.csv", &by_gene).unwrap());
    }
}
