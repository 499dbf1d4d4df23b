//! DOIs, catalogues of studies, and studies that two databases offer.

use std::fs;

use gf_corpus::{
    Catalogue, CrossReference, Doi, MAX_CATALOGUE_BYTES, Malignant, Organ, is_droplet,
};
use proptest::prelude::*;

use crate::support::shared;

#[test]
fn dois() {
    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(Doi::new(text).as_ref().map(Doi::as_str), expected, "{text:?}");
    }
    let geneformer = Some("10.1038/s41586-023-06139-9");
    check("10.1038/s41586-023-06139-9", geneformer);
    check("https://doi.org/10.1038/S41586-023-06139-9", geneformer);
    check("http://dx.doi.org/10.1038/s41586-023-06139-9/", geneformer);
    check("HTTPS://WWW.DOI.ORG/10.1038%2Fs41586-023-06139-9?via=x", geneformer);
    check("doi:10.1038/s41586-023-06139-9.", geneformer);
    check(" DOI 10.1038/s41586-023-06139-9 ", geneformer);
    check("DOI: 10.1038/s41586-023-06139-9;", geneformer);
    check("info:doi/10.1038/s41586-023-06139-9", geneformer);
    check("(\"<https://doi.org/10.1038/s41586-023-06139-9>\").", geneformer);
    check("10.1016/S0140-6736(05)12345-6", Some("10.1016/s0140-6736(05)12345-6"));
    check("(10.1016/0140-6736(05))", Some("10.1016/0140-6736(05)"));
    let sici = "10.1002/(sici)1097-0258(19980815/30)17:15/16<1661::aid-sim968>3.0.co;2-2";
    check(sici, Some(sici));
    let preprint = Some("10.1101/2024.08.16.608180");
    for end in ["", "v1", "v12", ".v2", "v1.full", "v1.full.pdf", "v1.abstract", "v2.full-text"] {
        check(&format!("10.1101/2024.08.16.608180{end}"), preprint);
    }
    check("https://www.biorxiv.org/content/10.1101/2024.08.16.608180v1.full", preprint);
    check("10.1101/gr.240663.118", Some("10.1101/gr.240663.118"));
    check("10.5281/zenodo.v2", Some("10.5281/zenodo.v2"));
    check("10.1000.10/x", Some("10.1000.10/x"));
    for bad in
        ["", "10.1038", "10.1038/", "10.38/x", "10.1038/a b", "11.1038/x", "PMC1", "10.1038/a\0b"]
    {
        check(bad, None);
    }
    check(&format!("10.1038/{}", "%25".repeat(10_000)), None);
}

proptest! {
    #[test]
    fn doi_of_a_doi_is_itself(text in "\\PC{0,60}", tail in "[ -~]{0,40}") {
        for text in [text, format!("10.1101/{tail}")] {
            if let Some(doi) = Doi::new(&text) {
                prop_assert_eq!(Doi::new(doi.as_str()), Some(doi.clone()));
                let json = serde_json::to_string(&doi).unwrap();
                prop_assert_eq!(serde_json::from_str::<Doi>(&json).unwrap(), doi);
            }
        }
    }

    #[test]
    fn doi_in_any_form(registrant in "10\\.[0-9]{4,9}", suffix in "[a-zA-Z][a-zA-Z0-9()._-]{0,30}[a-z]") {
        let bare = format!("{registrant}/{suffix}");
        let expected = Doi::new(&bare);
        prop_assert!(expected.is_some());
        for form in ["https://doi.org/{}", "http://dx.doi.org/{}", "doi:{}", "DOI {}", "\"{}\"", "{}."] {
            let text = form.replace("{}", &bare);
            prop_assert_eq!(&Doi::new(&text), &expected, "{}", text);
            prop_assert_eq!(&Doi::new(&text.to_uppercase()), &expected, "{}", text);
        }
    }
}

#[test]
fn platforms() {
    let check = |assay: &str, expected| assert_eq!(is_droplet(assay), expected, "{assay}");
    for yes in ["10x 3' v1", "10X Chromium 5' v2", "Drop-seq", "inDrops", "ddSEQ", "DNBelab C4"] {
        check(yes, Some(true));
    }
    for no in [
        "Seq-Well S3",
        "Smart-seq2",
        "CEL-Seq2",
        "Microwell-seq",
        "BD Rhapsody",
        "Fluidigm C1",
        "SPLiT-seq",
        "Parse Evercode",
        "sci-RNA-seq3",
    ] {
        check(no, Some(false));
    }
    check("", None);
    check("10x 3' v3 (sci-plex)", None);
}

fn read(name: &str, bytes: &[u8]) -> Result<Catalogue, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    Catalogue::read(&path).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(name: &str, text: impl AsRef<[u8]>, words: &[&str]) {
    let message = read(name, text.as_ref()).expect_err("it was read");
    for word in words.iter().chain([&name]) {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[test]
fn three_spellings_of_one_catalogue() {
    let toml = "\n[[study]]\nid = \"a\"\npath = \"./x/../y\"\ndoi = [\"10.1038/NBT.4042\", \"10.1000/x\"]\n\
        malignant = \"type=tumour|relapse\"\norgan = \"blood\"\nassay = \"Drop-seq\"\nexpected_cells = 3000\n";
    let csv = "\u{feff}id,path,doi,malignant,organ,assay,expected_cells\r\n\
        a,y,\"10.1038/nbt.4042; 10.1000/x\",type=tumour|relapse,PBMC,Drop-seq,3000\r\n";
    let tsv = csv.replace(',', "\t");
    let row = |name: &str, text: &str| {
        let mut study = read(name, text.as_bytes()).unwrap().studies.remove(0);
        study.path = study.path.file_name().unwrap().into();
        study.organ = Organ::new("immune").filter(|organ| study.organ == Some(*organ));
        study
    };
    let study = row("s.toml", toml);
    assert_eq!(study, row("s.csv", csv));
    assert_eq!(study, row("s.tsv", &tsv));
    assert_eq!(
        (study.droplet, study.expected_cells, study.dois.len()),
        (Some(true), Some(3000), 2)
    );
    assert_eq!(study.organ, Organ::new("immune"));
    let values = vec!["tumour".to_owned(), "relapse".to_owned()];
    assert_eq!(study.malignant, Malignant::Where { column: "type".to_owned(), values });
    let json = serde_json::to_string(&study).unwrap();
    assert_eq!(serde_json::from_str::<gf_corpus::Study>(&json).unwrap(), study);
}

#[test]
fn bad_rows() {
    let one = |column: &str, value: &str, words: &[&str]| {
        refused(
            "s.tsv",
            format!("id\tpath\t{column}\nb\tp\t\na\tx\t{value}\n"),
            &[words, &["line 3", column]].concat(),
        );
    };
    one("doi", "PMC12", &["found \"PMC12\"", "10.1038/"]);
    one("organ", "elbow", &["elbow", "large intestine", "other"]);
    one("droplet", "perhaps", &["perhaps", "yes or no"]);
    one("malignant", "type=", &["COLUMN=VALUE|VALUE"]);
    one("expected_cells", "0", &["above 0"]);
    one("expected_cells", "-5", &["above 0"]);
    one("condition", "a\u{7}b", &["control characters"]);
    one("layer", "a\0b", &["control characters"]);
    let path =
        |path: &str| refused("s.csv", format!("id,path\na,{path}\n"), &["line 2", "column path"]);
    for bad in ["..", "../x", "a/../../x", "/../x", ""] {
        path(bad);
    }
    let id = |id: &str| refused("s.csv", format!("path,id\nx,{id}\n"), &["line 2", "column id"]);
    for bad in ["..", ".", "a/b", "a b", "é", "", &"a".repeat(101)] {
        id(bad);
    }
    refused("s.csv", "id,path\na,x\nA,y\n", &["line 3", "line 2 has it"]);
    refused(
        "s.toml",
        "[[study]]\nid='a'\npath='x'\n[[study]]\nid='a'\npath='y'\n",
        &["line 4", "line 1 has it"],
    );
}

#[test]
fn bad_files() {
    refused("s.csv", "id,path,organn\na,x,brain\n", &["line 1", "organn", "one of the columns id"]);
    refused("s.csv", "id,path,id\na,x,b\n", &["line 1", "every column once"]);
    refused("s.csv", "id,path\na\n", &["line 2"]);
    refused("s.csv", "id,path\n\"a,x\nb,y\n", &["line 2"]);
    refused("s.csv", b"id,path\na,x\n\xff,y\n", &["line 3", "UTF-8"]);
    refused("s.csv", b"\x1f\x8b\x08\0\0\0", &["UTF-8"]);
    refused("s.toml", "[[study]]\nid='a'\npath='x'\norgann='brain'\n", &["line 1", "organn"]);
    refused("s.toml", "[[studies]]\nid='a'\n", &["studies"]);
    refused("s.toml", "[[study]]\nid=\n", &["line 2"]);
    refused("s.toml", "[[study]]\nid='a'\npath=1.5\n", &["float"]);
    refused("s.toml", format!("x={}", "[".repeat(100_000)), &["TOML"]);
    refused("s.xlsx", "x", &["xlsx", ".csv"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.csv");
    fs::File::create(&path).unwrap().set_len(MAX_CATALOGUE_BYTES + 1).unwrap();
    assert!(Catalogue::read(&path).unwrap_err().to_string().contains("at most 67108864 bytes"));
}

fn crossed(rows: &str) -> CrossReference {
    let text = format!("id,path,source_database,doi,preprint_doi\n{rows}");
    read("s.csv", text.as_bytes()).unwrap().cross_reference()
}

#[test]
fn studies_enter_once() {
    #[track_caller]
    fn check(rows: &str, kept: &[&str], superseded: &[(&str, &str, &str)]) {
        let out = crossed(rows);
        let ids: Vec<&str> = out.kept.iter().map(|study| study.id.as_str()).collect();
        let gone: Vec<_> = out
            .superseded
            .iter()
            .map(|s| (s.study.id.as_str(), s.by.as_str(), s.doi.as_str()))
            .collect();
        assert_eq!((&ids[..], &gone[..]), (kept, superseded), "{rows}");
    }
    check("a,x,GEO,10.1000/a,\nb,x,HCA,10.1000/A,\n", &["a"], &[("b", "a", "10.1000/a")]);
    check("a,x,GEO,10.1000/a,\nb,x,geo,10.1000/a,\n", &["a", "b"], &[]);
    check("a,x,GEO,10.1000/a,\nb,x,HCA,10.1000/b,\n", &["a", "b"], &[]);
    check("a,x,GEO,,\nb,x,HCA,,\n", &["a", "b"], &[]);
    check("a,x,,10.1000/a,\nb,x,HCA,10.1000/a,\n", &["a", "b"], &[]);
    check(
        "a,x,GEO,10.1000/a,10.1000/p\nb,x,HCA,,10.1000/p\nc,x,GEO,10.1000/a,\n",
        &["a", "c"],
        &[("b", "a", "10.1000/p")],
    );
    // The last row is what links the first two.
    check(
        "a,x,GEO,10.1000/a,\nb,x,HCA,10.1000/b,\nc,x,GEO,10.1000/a;10.1000/b,\n",
        &["a", "c"],
        &[("b", "a", "10.1000/b")],
    );
}

/// The shared data as a catalogue; DOIs are those of its INDEX.md, some labels
/// (databases, chemistries, conditions) are made up for the test.
const SHARED: &str = "\
id,path,source_database,accession,doi,assay,organ,condition,malignant,cell_line,assembly
pbmc1k,01_pbmc1k_v2_mex/filtered_feature_bc_matrix,10x,pbmc_1k_v2,,10x 3' v2,blood,healthy,no,no,
pbmc3k-mex,02_pbmc3k_hg19/filtered_gene_bc_matrices/hg19,10x,pbmc3k,10.1038/ncomms14049,10x 3' v1,blood,healthy,no,no,hg19
pbmc3k-h5,02_pbmc3k_hg19/pbmc3k_filtered_gene_bc_matrices_h5.h5,other,pbmc3k,doi:10.1038/NCOMMS14049,10x 3' v1,blood,healthy,no,no,hg19
pbmc4k,03_pbmc4k_loom_h5/pbmc4k_sub120_v3.loom,10x,pbmc4k,,10x 3' v2,blood,healthy,no,no,
mix-celseq2,04_sc_mixology/sc_celseq2.count.csv.gz,GEO,GSE118767,10.1038/s41592-019-0425-8,CEL-Seq2,lung,lung cancer,yes,yes,
mix-dropseq,04_sc_mixology/sc_dropseq.count.csv.gz,GEO,GSE118767,10.1038/s41592-019-0425-8,Drop-seq,lung,lung cancer,yes,yes,
kang,06_kang_ifnb/kang_muscat_4samples_ensembl.h5ad,GEO,GSE96583,https://doi.org/10.1038/nbt.4042,10x 3' v1,blood,\"lupus, interferon beta\",no,no,
facs,07_facs_pbmc_cellxgene_layout/facs_pbmc_rawX.h5ad,CELLxGENE,,10.1038/ncomms14049,10x 3' v1,blood,healthy,no,no,
scenic,14_scenic_loom_mex/filtered_gene_bc_matrices,protocol,,10.1038/s41596-020-0336-2,10x,blood,healthy,no,no,
";

#[test]
fn the_shared_data() {
    let read = read("studies.csv", SHARED.as_bytes()).unwrap();
    let droplets = read.studies.iter().filter(|study| study.droplet == Some(true)).count();
    let lines =
        read.studies.iter().filter(|s| s.cell_line && s.malignant == Malignant::Yes).count();
    assert_eq!((read.studies.len(), droplets, lines), (9, 8, 2));
    let crossed = read.cross_reference();
    let gone: Vec<_> = crossed.superseded.iter().map(|s| (&*s.study.id, &*s.by)).collect();
    assert_eq!(gone, [("pbmc3k-h5", "pbmc3k-mex"), ("facs", "pbmc3k-mex")]);
    let Some(data) = shared("data") else { return };
    for line in SHARED.lines().skip(1) {
        let path = data.join(line.split(',').nth(1).unwrap());
        assert!(path.exists(), "{}", path.display());
    }
}
