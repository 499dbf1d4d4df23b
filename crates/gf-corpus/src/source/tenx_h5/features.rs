//! The rows of a 10x HDF5 file: which are human genes, which something else.

use std::collections::BTreeMap;

use super::super::{
    OtherFeatures, SourceGene,
    hdf5::H5,
    texts::{Texts, Vector},
};
use crate::{
    error::{Error, Result},
    gene::GeneId,
    mapping::species,
};

const GENE_EXPRESSION: &str = "Gene Expression";
/// The group of Cell Ranger 3 and later.
const MATRIX: &str = "matrix";
/// Most rows a file may have; the widest tables of peaks have about a million.
const MAX_ROWS: usize = 1 << 22;
/// Rows read at a time.
const WINDOW: usize = 1 << 12;

/// What a row of the matrix is.
#[derive(Clone, Copy)]
pub(super) enum Row {
    Gene(u32),
    Other(u32),
}

/// The rows of a file, sorted out.
#[derive(Default)]
pub(super) struct Features {
    pub(super) genes: Vec<SourceGene>,
    pub(super) rows: Vec<Row>,
    /// Feature types of the rows that are no human genes.
    pub(super) kinds: Vec<String>,
}

/// The group that is read, and others' genomes with their numbers of rows.
pub(super) struct Chosen {
    pub(super) group: String,
    pub(super) apart: Vec<(String, usize)>,
}

/// A row as the file describes it.
struct Feature {
    id: String,
    symbol: Option<String>,
    /// Where files say it: [`GENE_EXPRESSION`], or what else it is.
    kind: Option<String>,
    /// Empty where files do not say it.
    genome: String,
}

/// How many ids of a genome are human, and how many of another species.
#[derive(Default)]
struct Ids {
    human: usize,
    foreign: usize,
}

impl Ids {
    fn add(&mut self, id: &str) {
        self.human += usize::from(GeneId::from_versioned(id).is_some());
        self.foreign += usize::from(species(id).is_some());
    }

    fn is_human(&self) -> bool {
        self.human > self.foreign
    }
}

/// The feature type under which genes of another genome are summed.
pub(super) fn foreign(genome: &str) -> String {
    format!("{GENE_EXPRESSION} ({genome})")
}

/// Groups laid out as a 10x matrix.
pub(super) fn groups(h5: &H5) -> Vec<String> {
    let has = |group: &str, name: &str| h5.has(&format!("{group}/{name}"));
    let is_matrix = |group: &String| {
        let vectors = ["data", "indices", "indptr", "barcodes"];
        let rows = ["features", "genes", "gene_names"];
        vectors.iter().all(|name| has(group, name)) && rows.iter().any(|name| has(group, name))
    };
    if is_matrix(&MATRIX.to_owned()) {
        return vec![MATRIX.to_owned()];
    }
    h5.top().into_iter().filter(is_matrix).collect()
}

/// The group to read: the named one, the only one, or the only human one.
pub(super) fn choose(h5: &H5, texts: &mut Texts, layer: Option<&str>) -> Result<Chosen> {
    let groups = groups(h5);
    let (mut human, mut apart) = (Vec::new(), Vec::new());
    for group in &groups {
        let wanted = match layer {
            Some(layer) => layer == group,
            None => groups.len() == 1 || is_human(h5, texts, group)?,
        };
        if wanted {
            human.push(group.clone());
        } else {
            apart.push((group.clone(), Columns::open(h5, group)?.len()?));
        }
    }
    let present = groups.join(", ");
    match (&human[..], layer) {
        ([group], _) => Ok(Chosen { group: group.clone(), apart }),
        (_, Some(layer)) => {
            let (path, layer) = (h5.path().to_owned(), layer.to_owned());
            Err(Error::MissingLayer { path, layer, present })
        }
        ([], None) => Err(h5.encoding("/", format!("the genomes {present}"), "a human genome")),
        (_, None) => {
            let found = format!("the human genomes {}", human.join(", "));
            Err(h5.encoding("/", found, "one human genome, or one named as the layer"))
        }
    }
}

fn is_human(h5: &H5, texts: &mut Texts, group: &str) -> Result<bool> {
    let mut ids = Ids::default();
    Columns::open(h5, group)?.each(texts, |feature| ids.add(plain(&feature.id, group)))?;
    Ok(ids.is_human())
}

impl Features {
    pub(super) fn read(h5: &H5, texts: &mut Texts, group: &str) -> Result<Self> {
        let columns = Columns::open(h5, group)?;
        let genomes = columns.genomes(texts)?;
        let human = only_human(h5, group, &genomes)?;
        let mut features = Self::default();
        columns.each(texts, |feature| features.push(feature, human))?;
        Ok(features)
    }

    fn push(&mut self, feature: Feature, human: Option<&str>) {
        let Feature { id, symbol, kind, genome } = feature;
        let other = kind.filter(|kind| kind != GENE_EXPRESSION);
        let row = match (other, human) {
            (Some(kind), _) => self.other_row(kind),
            (None, Some(human)) if genome != human => self.other_row(foreign(&genome)),
            // In a mixed file every name begins with its genome's.
            (None, Some(human)) => {
                let symbol = symbol.map(|symbol| plain(&symbol, human).to_owned());
                self.gene_row(plain(&id, human).to_owned(), symbol)
            }
            (None, None) => self.gene_row(id, symbol),
        };
        self.rows.push(row);
    }

    fn gene_row(&mut self, id: String, symbol: Option<String>) -> Row {
        self.genes.push(SourceGene { id, symbol });
        Row::Gene((self.genes.len() - 1) as u32)
    }

    fn other_row(&mut self, kind: String) -> Row {
        let known = self.kinds.iter().position(|k| *k == kind);
        Row::Other(known.unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        }) as u32)
    }

    /// How many rows there are of each other feature type.
    pub(super) fn other(&self) -> BTreeMap<String, OtherFeatures> {
        let mut other = BTreeMap::<String, OtherFeatures>::new();
        for row in &self.rows {
            if let Row::Other(kind) = *row {
                other.entry(self.kinds[kind as usize].clone()).or_default().rows += 1;
            }
        }
        other
    }

    /// What errors call a row.
    pub(super) fn name(&self, row: u32) -> &str {
        match self.rows[row as usize] {
            Row::Gene(gene) => &self.genes[gene as usize].id,
            Row::Other(kind) => &self.kinds[kind as usize],
        }
    }
}

/// The human one of several genomes; `None` if the file names one genome, or
/// none of several is known to be human (the mapping then says what they are).
fn only_human<'a>(
    h5: &H5,
    group: &str,
    genomes: &'a BTreeMap<String, Ids>,
) -> Result<Option<&'a str>> {
    let human = genomes.iter().filter(|(_, ids)| ids.is_human()).map(|(name, _)| name.as_str());
    let human: Vec<&str> = human.collect();
    match human[..] {
        _ if genomes.len() < 2 => Ok(None),
        [] => Ok(None),
        [human] => Ok(Some(human)),
        _ => {
            let found = format!("the human genomes {}", human.join(", "));
            Err(h5.encoding(&format!("{group}/features/genome"), found, "one human genome"))
        }
    }
}

/// A name without the genome's that mixed references put before it, as in
/// `GRCh38_ENSG00000000003` and `mm10___ENSMUSG00000000001`.
fn plain<'a>(name: &'a str, genome: &str) -> &'a str {
    let rest = name.strip_prefix(genome).filter(|rest| rest.starts_with('_'));
    rest.map_or(name, |rest| rest.trim_start_matches('_'))
}

/// The vectors that describe the rows, those that are there.
struct Columns<'a> {
    h5: &'a H5,
    group: String,
    id: Option<Vector>,
    name: Option<Vector>,
    kind: Option<Vector>,
    genome: Option<Vector>,
}

impl<'a> Columns<'a> {
    fn open(h5: &'a H5, group: &str) -> Result<Self> {
        let open = |name: &str| {
            let object = format!("{group}/{name}");
            h5.has(&object).then(|| Vector::expect(h5, &object)).transpose()
        };
        let is_new = h5.is_group(&format!("{group}/features"));
        let columns = Self {
            h5,
            group: group.to_owned(),
            id: open(if is_new { "features/id" } else { "genes" })?,
            name: open(if is_new { "features/name" } else { "gene_names" })?,
            kind: open("features/feature_type")?,
            genome: open("features/genome")?,
        };
        let n = columns.len()?;
        if n > MAX_ROWS {
            return Err(h5.encoding(group, format!("{n} rows"), &format!("at most {MAX_ROWS}")));
        }
        for vector in [&columns.id, &columns.name, &columns.kind, &columns.genome] {
            let found = vector.as_ref().map_or(n, Vector::len);
            h5.agree(&format!("{group}: vectors that describe the rows"), found, n)?;
        }
        Ok(columns)
    }

    fn len(&self) -> Result<usize> {
        let some = self.id.as_ref().or(self.name.as_ref()).map(Vector::len);
        let expected = "a vector of ids (features/id, genes) or names (features/name, gene_names)";
        some.ok_or_else(|| self.h5.encoding(&self.group, "neither ids nor names", expected))
    }

    /// The genomes that rows of genes name, and what their ids are.
    fn genomes(&self, texts: &mut Texts) -> Result<BTreeMap<String, Ids>> {
        let mut genomes = BTreeMap::<String, Ids>::new();
        if self.genome.is_none() {
            return Ok(genomes);
        }
        self.each(texts, |Feature { id, kind, genome, .. }| {
            if kind.is_none_or(|kind| kind == GENE_EXPRESSION) {
                genomes.entry(genome.clone()).or_default().add(plain(&id, &genome));
            }
        })?;
        Ok(genomes)
    }

    /// Calls `found` with every row in order.
    fn each(&self, texts: &mut Texts, mut found: impl FnMut(Feature)) -> Result<()> {
        let n = self.len()?;
        for from in (0..n).step_by(WINDOW) {
            let to = n.min(from + WINDOW);
            let mut read = |vector: &Option<Vector>| match vector {
                Some(vector) => texts.words(vector, from, to).map(Vec::into_iter),
                None => Ok(Vec::new().into_iter()),
            };
            let [mut id, mut name, mut kind, mut genome] =
                [read(&self.id)?, read(&self.name)?, read(&self.kind)?, read(&self.genome)?];
            for _ in from..to {
                // Without ids the names stand in their place.
                let (id, symbol) = match (id.next(), name.next()) {
                    (Some(id), symbol) => (id, symbol),
                    (None, name) => (name.unwrap_or_default(), None),
                };
                let (kind, genome) = (kind.next(), genome.next().unwrap_or_default());
                found(Feature { id, symbol, kind, genome });
            }
        }
        Ok(())
    }
}
