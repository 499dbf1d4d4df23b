//! Results as CSV; each file appears whole or not at all.

use std::path::Path;

use atomic_write_file::AtomicWriteFile;
use gf_tokenize::{TokenId, Vocabulary};

use crate::{CellShifts, Error, GeneEffect};

/// Writes genes in their ranking: `Rank,Gene,Gene_name,Ensembl_ID,Cosine_shift_mean,
/// Cosine_shift_stdev,N_Detections`, the reference's names where it has them
/// (REFERENCE.md §6.6). `symbol` names an Ensembl id; a gene it does not know is
/// called by its id.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_ranking(
    path: &Path,
    effects: &[GeneEffect],
    vocabulary: &Vocabulary,
    symbol: impl Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    let header = [
        "Rank",
        "Gene",
        "Gene_name",
        "Ensembl_ID",
        "Cosine_shift_mean",
        "Cosine_shift_stdev",
        "N_Detections",
    ];
    let lines = effects.iter().enumerate().map(|(i, effect)| {
        let id = ensembl_id(vocabulary, effect.gene);
        [
            (i + 1).to_string(),
            effect.gene.to_string(),
            symbol(&id).unwrap_or_else(|| id.clone()),
            id,
            effect.mean_shift.to_string(),
            effect.stdev_shift.to_string(),
            effect.n_detections.to_string(),
        ]
    });
    write_csv(path, header, lines)
}

/// Writes every deletion: `cell_id,Gene,Ensembl_ID,Cosine_sim`, cells in their
/// order, genes of a cell by rank.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_cell_shifts(
    path: &Path,
    cells: &[CellShifts],
    vocabulary: &Vocabulary,
) -> Result<(), Error> {
    let lines = cells.iter().flat_map(|cell| {
        cell.genes.iter().zip(&cell.cosines).map(|(&gene, cosine)| {
            let id = ensembl_id(vocabulary, gene);
            [cell.cell_id.clone(), gene.to_string(), id, cosine.to_string()]
        })
    });
    write_csv(path, ["cell_id", "Gene", "Ensembl_ID", "Cosine_sim"], lines)
}

fn ensembl_id(vocabulary: &Vocabulary, token: TokenId) -> String {
    vocabulary.name(token).unwrap_or_default()
}

fn write_csv<const N: usize>(
    path: &Path,
    header: [&str; N],
    lines: impl Iterator<Item = [String; N]>,
) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = AtomicWriteFile::open(path).map_err(io)?;
    let mut csv = csv::Writer::from_writer(&*file);
    let write = || -> Result<(), csv::Error> {
        csv.write_record(header)?;
        for line in lines {
            csv.write_record(line)?;
        }
        Ok(csv.flush()?)
    };
    write().map_err(|source| Error::Csv { path: path.to_owned(), source })?;
    drop(csv);
    file.commit().map_err(io)
}
