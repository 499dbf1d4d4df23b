//! CSV files of the reference's EmbExtractor (shared/golden, INDEX.md A8) on 43 cells
//! (V2) and on 9 (V2 and V1), with the models tiny_v2 and tiny_v1.

use std::{collections::BTreeMap, fs, io::Read, ops::ControlFlow, path::Path};

use burn_flex::{Flex, FlexDevice};
use flate2::read::GzDecoder;
use gf_embed::{
    CellReader, EmbedLayer, EmbedOptions, Embeddings, GeneMeans, GeneTokens, Readout,
    StateEmbeddings, StateSummary, embed_cells, embed_genes, reference_order,
};
use gf_model::{Encoder, EncoderConfig, checkpoint::load_encoder};
use gf_tokenize::{
    Dataset, DatasetWriter, MetadataKind, MetadataValue, TokenId, TokenSequence, Vocabulary,
    WriterOptions,
};

/// INDEX.md: measured difference of f32 and f64 runs, with a margin.
const TOLERANCE: f32 = 5e-5;

/// A model of the reference and cells that it embedded.
pub struct Reference {
    config: EncoderConfig,
    pub encoder: Encoder<Flex>,
    pub dataset: Dataset,
    vocabulary: Vocabulary,
    /// Where the cells made here lie.
    _scratch: tempfile::TempDir,
}

impl Reference {
    /// tiny_v2 and the 43 cells of `emb_v2`.
    pub fn small_v2(golden: &Path) -> Self {
        Self::v2(golden, |_, _| golden.join("ref/small/small_v2.dataset"))
    }

    /// tiny_v2 and the 9 cells of `isp_v2_more`.
    pub fn nine_v2(golden: &Path) -> Self {
        let json = golden.join("ref/isp_v2_more/cells.json");
        Self::v2(golden, |scratch, vocabulary| write_cells(&json, scratch, vocabulary))
    }

    fn v2(golden: &Path, cells: impl Fn(&Path, &Vocabulary) -> std::path::PathBuf) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let vocabulary = vocabulary(golden, "token_dictionary_gc104M.tsv.gz");
        let dataset = Dataset::open(&cells(scratch.path(), &vocabulary)).unwrap();
        let (config, encoder) =
            load_encoder::<Flex>(&golden.join("ref/model/tiny_v2"), &FlexDevice).unwrap();
        Self { config, encoder, dataset, vocabulary, _scratch: scratch }
    }

    /// tiny_v1 and the 9 cells of `isp_v1`.
    pub fn nine_v1(golden: &Path) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let vocabulary = vocabulary(golden, "token_dictionary_gc30M.tsv.gz");
        let json = golden.join("ref/isp_v1/cells.json");
        let dataset = Dataset::open(&write_cells(&json, scratch.path(), &vocabulary)).unwrap();
        let packed = golden.join("ref/model/tiny_v1");
        let model = scratch.path().join("tiny_v1");
        fs::create_dir(&model).unwrap();
        fs::copy(packed.join("config.json"), model.join("config.json")).unwrap();
        let mut weights = Vec::new();
        let file = fs::File::open(packed.join("model.safetensors.gz")).unwrap();
        GzDecoder::new(file).read_to_end(&mut weights).unwrap();
        fs::write(model.join("model.safetensors"), weights).unwrap();
        let (config, encoder) = load_encoder::<Flex>(&model, &FlexDevice).unwrap();
        Self { config, encoder, dataset, vocabulary, _scratch: scratch }
    }

    pub fn reader(&self) -> CellReader<'_> {
        CellReader::new(&self.config, &self.dataset, &self.vocabulary).unwrap()
    }

    /// The reference sorts by length, longest first, keeping the order of equal lengths.
    pub fn rows(&self) -> Vec<usize> {
        self.dataset.longest_first(0..self.dataset.len()).unwrap()
    }

    pub fn embed(&self, rows: &[usize], readout: Readout, layer: EmbedLayer) -> Embeddings {
        let options = EmbedOptions { layer, readout, ..EmbedOptions::default() };
        let mut go_on = |_| ControlFlow::Continue(());
        embed_cells(&self.encoder, &self.reader(), rows, &options, &FlexDevice, &mut go_on).unwrap()
    }
}

fn vocabulary(golden: &Path, file: &str) -> Vocabulary {
    Vocabulary::read_tsv(&golden.parent().unwrap().join("dicts").join(file)).unwrap()
}

/// Cells of a `cells.json` as a data set.
fn write_cells(json: &Path, scratch: &Path, vocabulary: &Vocabulary) -> std::path::PathBuf {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let folder = scratch.join("cells.dataset");
    let columns = vec![("state".to_owned(), MetadataKind::Text)];
    let options = WriterOptions { columns, ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(&folder, options).unwrap();
    for row in json["rows"].as_array().unwrap() {
        let ids = row["input_ids"].as_array().unwrap().iter();
        let ids = ids.map(|id| TokenId(id.as_u64().unwrap() as u32)).collect();
        let state = [MetadataValue::Text(row["state"].as_str().unwrap())];
        let tokens = TokenSequence::new(ids).unwrap();
        writer.push(row["cell_id"].as_str().unwrap(), &tokens, &state).unwrap();
    }
    writer.finish(vocabulary, "no medians", 2048).unwrap();
    folder
}

pub fn assert_close(place: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{place}");
    for (i, (x, y)) in found.iter().zip(expected).enumerate() {
        assert!((x - y).abs() <= TOLERANCE, "{place}, {i}: {x}, expected {y}");
    }
}

/// The lines of a CSV of the reference: the index, and as many numbers as asked for.
pub fn read_csv(path: &Path, width: usize) -> Vec<(String, Vec<f32>)> {
    let mut csv = csv::Reader::from_path(path).unwrap();
    let line = |record: csv::StringRecord| {
        let numbers = record.iter().skip(1).take(width).map(|field| field.parse().unwrap());
        (record[0].to_owned(), numbers.collect())
    };
    csv.records().map(|record| line(record.unwrap())).collect()
}

#[test]
fn cell_embeddings_are_the_reference_s() {
    fn t(
        folder: &Path,
        reference: &Reference,
        rows: &[usize],
        cases: &[(&str, Readout, EmbedLayer)],
    ) {
        for &(file, readout, layer) in cases {
            let found = reference.embed(rows, readout, layer).values;
            let expected = read_csv(&folder.join(file), found.ncols());
            assert_eq!(expected.len(), found.nrows(), "{file}");
            for (row, (index, expected)) in expected.iter().enumerate() {
                assert_eq!(*index, row.to_string(), "{file}");
                let place = format!("{file} row {row}");
                assert_close(&place, &found.row(row).to_vec(), expected);
            }
        }
    }
    let Some(golden) = crate::golden_folder() else { return };
    use EmbedLayer::{Last, SecondToLast};
    use Readout::{Cell, Cls};
    let v2 = [
        ("cls_layer-1.csv", Cls, SecondToLast),
        ("cls_layer0.csv", Cls, Last),
        ("cell_layer-1.csv", Cell, SecondToLast),
        ("cell_layer0.csv", Cell, Last),
    ];
    let small = Reference::small_v2(&golden);
    t(&golden.join("ref/emb_v2"), &small, &small.rows(), &v2);
    let nine = Reference::nine_v2(&golden);
    t(&golden.join("ref/isp_v2_more/emb"), &nine, &nine.rows(), &v2);
    let v1 = Reference::nine_v1(&golden);
    t(&golden.join("ref/isp_v1/emb"), &v1, &v1.rows(), &v2[2..]);
}

#[test]
fn state_embeddings_are_the_reference_s() {
    fn t(golden: &Path, json: &str, reference: &Reference, column: &str, readout: Readout) {
        let expected = StateEmbeddings::read_json(&golden.join(json)).unwrap();
        let rows: Vec<usize> = (0..reference.dataset.len()).collect();
        let column = reference.dataset.column(column).unwrap();
        let states: Vec<_> = column.iter().map(|value| value.unwrap().text()).collect();
        let states: Vec<_> = states.iter().map(Option::as_deref).collect();
        let cells = reference.embed(&rows, readout, EmbedLayer::SecondToLast).values;
        let found = StateEmbeddings::summarise(cells.view(), &states, StateSummary::Mean).unwrap();
        let names = |states: &StateEmbeddings| -> Vec<String> {
            states.iter().map(|(name, _)| name.to_owned()).collect()
        };
        assert_eq!(names(&found), names(&expected), "{json}");
        for (state, expected) in expected.iter() {
            assert_close(&format!("{json} {state}"), found.get(state).unwrap(), expected);
        }
    }
    let Some(golden) = crate::golden_folder() else { return };
    let small = Reference::small_v2(&golden);
    t(&golden, "ref/emb_v2/state_embs.json", &small, "disease", Readout::Cls);
    let nine = Reference::nine_v2(&golden);
    t(&golden, "ref/isp_v2_more/emb/state_embs.json", &nine, "state", Readout::Cls);
    let v1 = Reference::nine_v1(&golden);
    t(&golden, "ref/isp_v1/emb/state_embs.json", &v1, "state", Readout::Cell);
}

#[test]
fn gene_embeddings_are_the_reference_s() {
    fn t(folder: &Path, file: &str, reference: &Reference, layer: EmbedLayer) {
        let (reader, rows) = (reference.reader(), reference.rows());
        let options = EmbedOptions { layer, ..EmbedOptions::default() };
        let mut means = GeneMeans::default();
        for rows in rows.chunks(5) {
            let mut go_on = |_| ControlFlow::Continue(());
            let (encoder, which) = (&reference.encoder, GeneTokens::All);
            let states =
                embed_genes(encoder, &reader, rows, which, &options, &FlexDevice, &mut go_on);
            means.add(&states.unwrap());
        }
        let found: BTreeMap<String, Vec<f32>> = means
            .iter()
            .map(|(token, _, mean)| (reader.vocabulary().name(token).unwrap(), mean.to_vec()))
            .collect();
        let width = found.values().next().unwrap().len();
        let expected: BTreeMap<_, _> = read_csv(&folder.join(file), width).into_iter().collect();
        assert!(found.keys().eq(expected.keys()), "{file}");
        for (gene, expected) in &expected {
            assert_close(&format!("{file} {gene}"), &found[gene], expected);
        }
    }
    let Some(golden) = crate::golden_folder() else { return };
    use EmbedLayer::{Last, SecondToLast};
    let small = Reference::small_v2(&golden);
    t(&golden.join("ref/emb_v2"), "gene_layer-1.csv", &small, SecondToLast);
    t(&golden.join("ref/emb_v2"), "gene_layer0.csv", &small, Last);
    let nine = Reference::nine_v2(&golden);
    t(&golden.join("ref/isp_v2_more/emb"), "gene_layer-1.csv", &nine, SecondToLast);
    let v1 = Reference::nine_v1(&golden);
    t(&golden.join("ref/isp_v1/emb"), "gene_layer-1.csv", &v1, SecondToLast);
}

/// Which cells the reference takes, and in which order: its column `cell_id`.
#[test]
fn cells_are_chosen_and_ordered_as_by_the_reference() {
    fn t(folder: &Path, file: &str, reference: &Reference, rows: &[usize], most: usize) {
        let rows = reference_order(&reference.dataset, rows, Some(most)).unwrap();
        let found: Vec<_> =
            rows.iter().map(|&row| reference.dataset.cell_id(row).unwrap()).collect();
        let expected = gf_embed::Table::read_csv(&folder.join(file)).unwrap();
        assert_eq!(found, expected.text("cell_id").unwrap(), "{file}");
    }
    let Some(golden) = crate::golden_folder() else { return };
    let nine = Reference::nine_v2(&golden);
    let folder = golden.join("ref/isp_v2_more/emb");
    let all: Vec<usize> = (0..9).collect();
    t(&folder, "cls_layer-1.csv", &nine, &all, 1_000);
    t(&folder, "cls_layer-1_max5cells.csv", &nine, &all, 5);
    let dcm = nine.dataset.filter("state", &[MetadataValue::Text("dcm")]).unwrap();
    t(&folder, "cls_layer-1_filtered.csv", &nine, &dcm, 1_000);
    let v1 = Reference::nine_v1(&golden);
    let folder = golden.join("ref/isp_v1/emb");
    t(&folder, "cell_layer-1_max5cells.csv", &v1, &all, 5);
    t(&folder, "cell_layer0.csv", &v1, &all, 1_000);
}

#[test]
fn v1_cells_have_no_cls_embedding() {
    let Some(golden) = crate::golden_folder() else { return };
    let v1 = Reference::nine_v1(&golden);
    let error = v1.reader().require_cls().unwrap_err().to_string();
    assert!(
        error.ends_with("the vocabulary has no <cls> token, expected a V2 data set"),
        "{error}"
    );
}
