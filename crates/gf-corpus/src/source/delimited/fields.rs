//! A line of a table taken apart.

use std::path::Path;

use memchr::memchr;

use crate::error::{Error, Result};

/// What tables write where they have no value.
const MISSING: [&str; 9] = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "none"];

/// The fields of a line, without the quotes around them.
///
/// A field whose quotes do not close is given as it stands, up to the end.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    rest: Option<&'a [u8]>,
    delimiter: u8,
}

impl<'a> Fields<'a> {
    pub(super) fn new(line: &'a [u8], delimiter: u8) -> Self {
        Self { rest: Some(line), delimiter }
    }

    /// What has not been taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest.unwrap_or_default()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.rest?;
        let closed = if line.first() == Some(&b'"') { closing_quote(line) } else { None };
        let (field, end) = match closed {
            Some(at) if line.get(at + 1).is_none_or(|&b| b == self.delimiter) => {
                (&line[1..at], at + 1)
            }
            _ if line.first() == Some(&b'"') => (line, line.len()),
            _ => {
                let at = line.iter().position(|&b| b == self.delimiter).unwrap_or(line.len());
                (&line[..at], at)
            }
        };
        self.rest = line.get(end + 1..);
        Some(field)
    }
}

/// Where the quotes that a line begins with close; doubled ones do not.
fn closing_quote(line: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr(b'"', &line[at..])?;
        if line.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// The text of a field that names a gene, a cell or a column.
pub(super) fn name(field: &[u8], path: &Path, line: u64) -> Result<String> {
    let wrong = |expected: &str| {
        const SHOWN: usize = 80;
        let found = String::from_utf8_lossy(&field[..field.len().min(SHOWN)]).into_owned();
        Err(Error::Line { path: path.to_owned(), line, found, expected: expected.to_owned() })
    };
    if field.contains(&0) {
        return wrong("text without NUL bytes");
    }
    match std::str::from_utf8(field) {
        Ok(text) => Ok(text.trim().replace("\"\"", "\"")),
        Err(_) => wrong("UTF-8 text"),
    }
}

/// Whether a field says that there is no value.
pub(super) fn is_missing(field: &[u8]) -> bool {
    let field = field.trim_ascii();
    MISSING.iter().any(|missing| missing.as_bytes() == field)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let fields = Fields::new(line.as_bytes(), b',');
        let found: Vec<&str> = fields.map(|field| std::str::from_utf8(field).unwrap()).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn fields_stand_between_delimiters() {
        check("", &[""]);
        check("a", &["a"]);
        check(",", &["", ""]);
        check("a,,b", &["a", "", "b"]);
        check(r#""a,b",c"#, &["a,b", "c"]);
        check(r#""a""b",c"#, &[r#"a""b"#, "c"]);
        check(r#""","""#, &["", ""]);
        check(r#"x,"a"b,c"#, &["x", r#""a"b,c"#]);
        check(r#"x,"a,c"#, &["x", r#""a,c"#]);
    }

    proptest! {
        #[test]
        fn the_csv_crate_reads_the_same(fields in prop::collection::vec("[ a,\"0]{0,5}", 2..8)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&fields).unwrap();
            let line = writer.into_inner().unwrap();
            let line = line.strip_suffix(b"\n").unwrap();
            let found = Fields::new(line, b',').map(|field| {
                String::from_utf8(field.to_vec()).unwrap().replace("\"\"", "\"")
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), fields);
        }
    }
}
