//! The table of cells, or of the genes of cells.

use gf_corpus::Annotation;
use gf_embed::{CellReader, Spool, TableHeader, TableRows};
use gf_tokenize::TokenId;

use super::{Embedding, output::Output, rows::labels};
use crate::failure::Failure;

/// Columns of names and of labels.
type Columns = (Vec<Vec<String>>, Vec<Vec<Option<String>>>);

impl Embedding<'_> {
    pub(super) fn write_table(
        &self,
        reader: &CellReader<'_>,
        spool: &Spool,
        width: usize,
    ) -> Result<(), Failure> {
        let names = match (self.args.every_gene(), self.args.rows.is_reference()) {
            (true, _) => &["cell_id", "gene", "symbol", "position"][..],
            (false, true) => &[""],
            (false, false) => &["cell_id"],
        };
        let header = TableHeader {
            labels: self.args.labels.clone(),
            ..TableHeader::new(names.iter().copied(), width)
        };
        let annotation = Annotation::shipped()?;
        let mut table = Output::create(self.format, &self.args.output, &header)?;
        let mut n_before = 0;
        for (rows, values) in self.rows.chunks(self.cells_per_block()).zip(spool.blocks()?) {
            let values = values?;
            let (names, labels) = match self.args.every_gene() {
                true => self.gene_columns(reader, rows, annotation)?,
                false => self.cell_columns(rows, n_before)?,
            };
            n_before += rows.len();
            table.push(&TableRows { names, values: values.view(), labels })?;
        }
        table.finish()
    }

    fn cell_columns(&self, rows: &[usize], n_before: usize) -> Result<Columns, Failure> {
        let cell_id = |(place, &row): (usize, &usize)| match self.args.rows.is_reference() {
            true => Ok((n_before + place).to_string()),
            false => self.dataset.cell_id(row),
        };
        let ids = rows.iter().enumerate().map(cell_id).collect::<Result<_, _>>()?;
        let labels = self.args.labels.iter().map(|column| labels(&self.dataset, column, rows));
        Ok((vec![ids], labels.collect::<Result<_, _>>()?))
    }

    fn gene_columns(
        &self,
        reader: &CellReader<'_>,
        rows: &[usize],
        annotation: &Annotation,
    ) -> Result<Columns, Failure> {
        let mut names = vec![Vec::new(); 4];
        let mut of_cell = Vec::new();
        for &row in rows {
            let (cell_id, tokens) = (self.dataset.cell_id(row)?, reader.tokens(row)?);
            for position in reader.genes(&tokens) {
                let (gene, symbol) = self.gene(TokenId(tokens[position] as u32), annotation);
                let fields = [cell_id.clone(), gene, symbol, position.to_string()];
                names.iter_mut().zip(fields).for_each(|(column, field)| column.push(field));
                of_cell.push(row);
            }
        }
        let labels = self.args.labels.iter().map(|column| labels(&self.dataset, column, &of_cell));
        Ok((names, labels.collect::<Result<_, _>>()?))
    }

    /// The id of a token's gene, and its symbol or once more the id.
    pub(super) fn gene(&self, token: TokenId, annotation: &Annotation) -> (String, String) {
        let name = self.vocabulary.name(token).unwrap_or_default();
        let gene = self.vocabulary.gene(token).and_then(|gene| annotation.gene(gene));
        let symbol = gene.map_or_else(|| name.clone(), |gene| gene.symbol.to_owned());
        (name, symbol)
    }
}
