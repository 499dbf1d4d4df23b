//! What stands around a gene's name: prefixes, suffixes, dates.

use crate::gene::GeneId;

/// What tools put before the names of a genome, with one underscore or more.
const ASSEMBLIES: [&str; 6] =
    ["GRCh38", "GRCh37", "hg38", "hg19", "GRCh38-2020-A", "GRCh38-2024-A"];
/// Between the parts of a name such as `ENSG00000141510_TP53`.
const SEPARATORS: [char; 4] = ['|', '_', ';', ','];
/// Symbols that a spreadsheet takes for a date, by the month.
const DATED: [(&str, &[&str]); 6] = [
    ("mar", &["MARCH", "MARC"]),
    ("sep", &["SEPT", "SEP"]),
    ("oct", &["OCT"]),
    ("nov", &["NOV"]),
    ("dec", &["DEC"]),
    ("feb", &["FEB"]),
];

/// The name without the assembly before it: `hg19_TP53` is `TP53`.
pub(crate) fn without_assembly(name: &str) -> &str {
    let bare = ASSEMBLIES.iter().find_map(|known| name.strip_prefix(known)?.strip_prefix('_'));
    bare.map_or(name, |bare| bare.trim_start_matches('_'))
}

/// The Ensembl id that the name is, with or without version, `_PAR_Y`,
/// assembly before it, or a symbol beside it.
pub(crate) fn ensembl(name: &str) -> Option<GeneId> {
    let name = without_assembly(name.trim());
    let whole = name.strip_suffix("_PAR_Y").unwrap_or(name);
    if let Some(id) = GeneId::from_versioned(whole) {
        return Some(id);
    }
    let (first, _) = name.split_once(SEPARATORS)?;
    let (_, last) = name.rsplit_once(SEPARATORS)?;
    GeneId::from_versioned(first).or_else(|| GeneId::from_versioned(last))
}

/// The name before R's `make.unique` (`TBCE.1`) or scanpy (`TBCE-1`) had it.
pub(crate) fn before_uniquifying(name: &str) -> Option<&str> {
    let base = name.strip_suffix(|digit: char| ('1'..='9').contains(&digit))?;
    base.strip_suffix(['.', '-'])
}

/// The symbols that a date such as `1-Mar`, `Mar-01` or `3/1` may have been;
/// none are given for a date in numbers only, whose order nobody knows.
pub(crate) fn before_spreadsheet(name: &str) -> Option<Vec<String>> {
    let (left, right) = name.split_once(['-', '/'])?;
    let day = |text: &str| text.parse::<u8>().ok().filter(|day| (1..=31).contains(day));
    let (day, month) = match (day(left), day(right)) {
        (Some(_), Some(_)) => return Some(Vec::new()),
        (Some(day), None) => (day, right),
        (None, Some(day)) => (day, left),
        (None, None) => return None,
    };
    let (_, stems) = DATED.iter().find(|(known, _)| month.eq_ignore_ascii_case(known))?;
    Some(stems.iter().map(|stem| format!("{stem}{day}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assemblies_come_off() {
        let check = |name: &str, expected: &str| assert_eq!(without_assembly(name), expected);
        check("hg19_TP53", "TP53");
        check("GRCh38_TP53", "TP53");
        check("GRCh38______TP53", "TP53");
        check("GRCh38-2020-A_TP53", "TP53");
        check("mm10_Trp53", "mm10_Trp53");
        check("hg19TP53", "hg19TP53");
        check("TP53", "TP53");
    }

    #[test]
    fn ensembl_ids_are_found_beside_symbols() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(ensembl(name).map(|id| id.to_string()).as_deref(), expected, "{name}");
        };
        let tp53 = Some("ENSG00000141510");
        check("ENSG00000141510", tp53);
        check("ENSG00000141510.18", tp53);
        check("ENSG00000141510_TP53", tp53);
        check("ENSG00000141510.18_TP53", tp53);
        check("TP53_ENSG00000141510", tp53);
        check("ENSG00000141510|TP53", tp53);
        check("hg19_ENSG00000141510", tp53);
        check("GRCh38______ENSG00000141510.2", tp53);
        check("ENSG00000182378_PAR_Y", Some("ENSG00000182378"));
        check("ENSG00000182378.14_PAR_Y", Some("ENSG00000182378"));
        check("ENSGR0000182378", Some("ENSGR0000182378"));
        check("ENSMUSG00000059552_Trp53", None);
        check("A_ENSG00000141510_B", None);
        check("TP53", None);
        check("", None);
    }

    #[test]
    fn suffixes_and_dates() {
        let check = |name: &str, expected| assert_eq!(before_uniquifying(name), expected, "{name}");
        check("TBCE.1", Some("TBCE"));
        check("TBCE-9", Some("TBCE"));
        check("TBCE.0", None);
        check("TBCE1", None);
        check("TBCE-11", None);
        let check = |name: &str, expected: Option<&[&str]>| {
            let found = before_spreadsheet(name);
            assert_eq!(
                found,
                expected.map(|e| e.iter().map(|s| s.to_string()).collect()),
                "{name}"
            );
        };
        check("1-Mar", Some(&["MARCH1", "MARC1"]));
        check("Sep-02", Some(&["SEPT2", "SEP2"]));
        check("3/1", Some(&[]));
        check("HLA-A", None);
        check("MT-1", None);
        check("40-Mar", None);
    }
}
