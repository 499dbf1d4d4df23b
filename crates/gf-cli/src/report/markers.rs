//! A short list of marker genes that colour the cell map when no metadata
//! column is named.
//!
//! A cell gets the type of the first marker in its ranked sequence. This is a
//! reading aid and not an annotation: one ambient transcript can decide it.

/// Marker symbol, Ensembl id, cell type. Textbook markers of blood and immune
/// cells, as used for instance in the Seurat and scanpy PBMC tutorials;
/// ids from GRCh38, Ensembl 93.
pub const MARKERS: [(&str, &str, &str); 25] = [
    ("CD3D", "ENSG00000167286", "T cell"),
    ("CD3E", "ENSG00000198851", "T cell"),
    ("TRAC", "ENSG00000277734", "T cell"),
    ("MS4A1", "ENSG00000156738", "B cell"),
    ("CD79A", "ENSG00000105369", "B cell"),
    ("CD19", "ENSG00000177455", "B cell"),
    ("NKG7", "ENSG00000105374", "NK or cytotoxic"),
    ("GNLY", "ENSG00000115523", "NK or cytotoxic"),
    ("KLRD1", "ENSG00000134539", "NK or cytotoxic"),
    ("LYZ", "ENSG00000090382", "Monocyte"),
    ("CD14", "ENSG00000170458", "Monocyte"),
    ("S100A8", "ENSG00000143546", "Monocyte"),
    ("C1QA", "ENSG00000173372", "Macrophage"),
    ("FCER1A", "ENSG00000179639", "Dendritic"),
    ("CD1C", "ENSG00000158481", "Dendritic"),
    ("CLEC9A", "ENSG00000197992", "Dendritic"),
    ("LILRA4", "ENSG00000239961", "Plasmacytoid DC"),
    ("MZB1", "ENSG00000170476", "Plasma cell"),
    ("JCHAIN", "ENSG00000132465", "Plasma cell"),
    ("PPBP", "ENSG00000163736", "Platelet"),
    ("PF4", "ENSG00000163737", "Platelet"),
    ("HBB", "ENSG00000244734", "Erythroid"),
    ("CD34", "ENSG00000174059", "Progenitor"),
    ("TPSAB1", "ENSG00000172236", "Mast cell"),
    ("CPA3", "ENSG00000163751", "Mast cell"),
];

/// What a cell is called in which no marker was detected.
pub const NO_MARKER: &str = "No marker";

/// The cell type that `ensembl_id` marks.
pub fn cell_type(ensembl_id: &str) -> Option<&'static str> {
    MARKERS.iter().find(|(_, id, _)| *id == ensembl_id).map(|(_, _, cell_type)| *cell_type)
}

/// `(cell type, its marker symbols)` in the list's order.
pub fn legend() -> Vec<(&'static str, String)> {
    let mut legend: Vec<(&str, String)> = Vec::new();
    for (symbol, _, cell_type) in MARKERS {
        match legend.iter_mut().find(|(known, _)| *known == cell_type) {
            Some((_, symbols)) => symbols.push_str(&format!(", {symbol}")),
            None => legend.push((cell_type, symbol.to_string())),
        }
    }
    legend
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        assert_eq!(cell_type("ENSG00000156738"), Some("B cell"));
        assert_eq!(cell_type("ENSG00000000003"), None);
        assert_eq!(legend()[0], ("T cell", "CD3D, CD3E, TRAC".to_string()));
    }

    #[test]
    fn every_marker_is_listed_once() {
        for (i, (symbol, id, _)) in MARKERS.iter().enumerate() {
            let twice = MARKERS[i + 1..].iter().any(|(s, d, _)| s == symbol || d == id);
            assert!(!twice, "{symbol} {id} is listed twice");
        }
    }
}
