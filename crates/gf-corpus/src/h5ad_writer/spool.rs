//! The text columns of obs, block by block in a temporary file until all their
//! values are known: in each block, for each column, a number a cell (its
//! category, or one of the two below, of which the latter has its text behind).

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, BufWriter, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

use rust_hdf5::HBool;

use super::{
    CHUNK_CELLS,
    node::{Array, Node, Strings},
};
use crate::error::{Error, Result};

/// Most categories of a column; one with more becomes plain text.
const MAX_CATEGORIES: usize = 1 << 16;
/// Most bytes of the categories of all columns together.
const MAX_CATEGORY_BYTES: usize = 64 << 20;
/// The cell has no value.
const MISSING: i32 = -1;
/// The value is no category: its length and its bytes follow.
const PLAIN: i32 = -2;

/// Text columns that wait for their last value.
pub(super) struct Spool {
    file: BufWriter<File>,
    folder: PathBuf,
    columns: Vec<Dictionary>,
    n_bytes: usize,
}

/// What is known of one column.
#[derive(Default)]
struct Dictionary {
    codes: HashMap<String, i32>,
    has_missing: bool,
    /// Not all its values are categories.
    is_plain: bool,
}

impl Spool {
    pub(super) fn create(folder: &Path, n_columns: usize) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        let columns = (0..n_columns).map(|_| Dictionary::default()).collect();
        Ok(Self { file: BufWriter::new(file), folder: folder.to_owned(), columns, n_bytes: 0 })
    }

    /// Adds `n` cells, a slice of as many values a column.
    pub(super) fn push(&mut self, n: usize, columns: &[&[Option<&str>]]) -> Result<()> {
        let failed = Error::io(&self.folder);
        let mut push = || {
            self.file.write_all(&(n as u64).to_le_bytes())?;
            for (dictionary, values) in self.columns.iter_mut().zip(columns) {
                for &value in *values {
                    let code = dictionary.code(value, &mut self.n_bytes);
                    self.file.write_all(&code.to_le_bytes())?;
                    if let (PLAIN, Some(text)) = (code, value) {
                        self.file.write_all(&(text.len() as u64).to_le_bytes())?;
                        self.file.write_all(text.as_bytes())?;
                    }
                }
            }
            Ok(())
        };
        push().map_err(failed)
    }

    /// Writes the columns into obs.
    pub(super) fn write(self, obs: &Node, names: &[&str]) -> Result<()> {
        let columns = self.columns.into_iter().zip(names);
        let columns = columns.map(|(dictionary, name)| Written::create(obs, name, dictionary));
        let columns: Vec<Written> = columns.collect::<Result<_>>()?;
        let failed = || Error::io(&self.folder);
        let mut file = self.file.into_inner().map_err(|error| failed()(error.into_error()))?;
        file.rewind().map_err(failed())?;
        let mut file = BufReader::new(file);
        while let Some(n) = read_start(&mut file).map_err(failed())? {
            for column in &columns {
                let values = (0..n).map(|_| read_value(&mut file)).collect::<Result<Vec<_>, _>>();
                column.append(&values.map_err(failed())?)?;
            }
        }
        Ok(())
    }
}

impl Dictionary {
    /// The code of a value; a new one is added while there is room.
    fn code(&mut self, value: Option<&str>, n_bytes: &mut usize) -> i32 {
        let Some(text) = value else {
            self.has_missing = true;
            return MISSING;
        };
        if let Some(&code) = self.codes.get(text) {
            return code;
        }
        let code = self.codes.len();
        if code == MAX_CATEGORIES || *n_bytes + text.len() > MAX_CATEGORY_BYTES {
            self.is_plain = true;
            return PLAIN;
        }
        *n_bytes += text.len();
        self.codes.insert(text.to_owned(), code as i32);
        code as i32
    }
}

/// A value as it was spooled.
enum Value {
    Code(i32),
    Text(String),
}

fn read_value(file: &mut impl Read) -> std::io::Result<Value> {
    let mut code = [0; 4];
    file.read_exact(&mut code)?;
    match i32::from_le_bytes(code) {
        PLAIN => {
            let mut text = String::new();
            let mut n = [0; 8];
            file.read_exact(&mut n)?;
            file.take(u64::from_le_bytes(n)).read_to_string(&mut text)?;
            Ok(Value::Text(text))
        }
        code => Ok(Value::Code(code)),
    }
}

/// The number of cells of the next block; `None` at the end.
fn read_start(file: &mut impl Read) -> std::io::Result<Option<u64>> {
    let mut n = [0; 8];
    match file.read_exact(&mut n) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Some(u64::from_le_bytes(n))),
    }
}

/// A column on its way into obs.
enum Written {
    /// The sorted place of each category.
    Categorical { codes: Array, ranks: Vec<i32> },
    /// The categories, in the order of their codes.
    Plain { values: Strings, mask: Option<Array>, categories: Vec<String> },
}

impl Written {
    fn create(obs: &Node, name: &str, dictionary: Dictionary) -> Result<Self> {
        let mut categories: Vec<(String, i32)> = dictionary.codes.into_iter().collect();
        if dictionary.is_plain {
            categories.sort_unstable_by_key(|&(_, code)| code);
            let categories = categories.into_iter().map(|(text, _)| text).collect();
            return Self::plain(obs, name, dictionary.has_missing, categories);
        }
        categories.sort_unstable();
        let group = obs.group(name, ("categorical", "0.2.0"))?;
        group.flag("ordered", false)?;
        let texts: Vec<&str> = categories.iter().map(|(text, _)| text.as_str()).collect();
        group.strings("categories", CHUNK_CELLS)?.append(&texts)?;
        let mut ranks = vec![0; categories.len()];
        for (rank, &(_, code)) in categories.iter().enumerate() {
            ranks[code as usize] = rank as i32;
        }
        Ok(Self::Categorical { codes: group.array::<i32>("codes", CHUNK_CELLS)?, ranks })
    }

    fn plain(obs: &Node, name: &str, has_missing: bool, categories: Vec<String>) -> Result<Self> {
        if !has_missing {
            let values = obs.strings(name, CHUNK_CELLS)?;
            return Ok(Self::Plain { values, mask: None, categories });
        }
        let group = obs.group(name, ("nullable-string-array", "0.1.0"))?;
        let values = group.strings("values", CHUNK_CELLS)?;
        let mask = Some(group.array::<HBool>("mask", CHUNK_CELLS)?);
        Ok(Self::Plain { values, mask, categories })
    }

    fn append(&self, block: &[Value]) -> Result<()> {
        match self {
            Self::Categorical { codes, ranks } => {
                let rank = |value: &Value| match value {
                    Value::Code(code) => usize::try_from(*code).map_or(MISSING, |code| ranks[code]),
                    Value::Text(_) => MISSING,
                };
                codes.append(&block.iter().map(rank).collect::<Vec<i32>>())
            }
            Self::Plain { values, mask, categories } => {
                let text = |value| match value {
                    &Value::Code(code) => {
                        usize::try_from(code).map_or("", |code| categories[code].as_str())
                    }
                    Value::Text(text) => text.as_str(),
                };
                values.append(&block.iter().map(text).collect::<Vec<&str>>())?;
                let Some(mask) = mask else { return Ok(()) };
                let is_missing = |value: &Value| HBool::from(matches!(value, Value::Code(MISSING)));
                mask.append(&block.iter().map(is_missing).collect::<Vec<HBool>>())
            }
        }
    }
}
