//! Columns of obs whose encoding depends on values to come, block by block in a
//! temporary file until all are known. In each block, for each column, a cell of
//! text is a number (its category, or one of the two below, of which the latter
//! has its text behind); of numbers, whether it is missing and the number.

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
use crate::{
    error::{Error, Result},
    metadata::{MetadataColumn, MetadataField, MetadataKind},
};

/// Most categories of a column; one with more becomes plain text.
const MAX_CATEGORIES: usize = 1 << 16;
/// Most bytes of the categories of all columns together.
const MAX_CATEGORY_BYTES: usize = 64 << 20;
/// The cell has no value.
const MISSING: i32 = -1;
/// The value is no category: its length and its bytes follow.
const PLAIN: i32 = -2;

/// Columns that wait for their last value.
pub(super) struct Spool {
    file: BufWriter<File>,
    folder: PathBuf,
    /// `None` for a column that is not spooled.
    columns: Vec<(String, Option<Held>)>,
    n_bytes: usize,
}

/// What is known of a column so far.
enum Held {
    Words(Dictionary),
    Numbers { is_boolean: bool, has_missing: bool },
}

impl Held {
    fn of(kind: MetadataKind) -> Option<Self> {
        match kind {
            MetadataKind::Text => Some(Self::Words(Dictionary::default())),
            MetadataKind::Integer => Some(Self::Numbers { is_boolean: false, has_missing: false }),
            MetadataKind::Boolean => Some(Self::Numbers { is_boolean: true, has_missing: false }),
            MetadataKind::Float => None,
        }
    }
}

/// The words of a column.
#[derive(Default)]
struct Dictionary {
    codes: HashMap<String, i32>,
    has_missing: bool,
    /// Not all its values are categories.
    is_plain: bool,
}

impl Spool {
    pub(super) fn create(folder: &Path, fields: &[MetadataField]) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        let columns = fields.iter().map(|field| (field.name.clone(), Held::of(field.kind)));
        let (file, folder) = (BufWriter::new(file), folder.to_owned());
        Ok(Self { file, folder, columns: columns.collect(), n_bytes: 0 })
    }

    /// Adds `n` cells: all columns, each of its kind and length.
    pub(super) fn push(&mut self, n: usize, columns: &[MetadataColumn]) -> Result<()> {
        let mut push = || {
            self.file.write_all(&(n as u64).to_le_bytes())?;
            for ((_, held), values) in self.columns.iter_mut().zip(columns) {
                match (held, values) {
                    (Some(Held::Words(dictionary)), MetadataColumn::Text(values)) => {
                        dictionary.spool(values, &mut self.n_bytes, &mut self.file)?;
                    }
                    (Some(Held::Numbers { has_missing, .. }), MetadataColumn::Integers(values)) => {
                        *has_missing |= spool(values.iter().copied(), &mut self.file)?;
                    }
                    (Some(Held::Numbers { has_missing, .. }), MetadataColumn::Booleans(values)) => {
                        let numbers = values.iter().map(|value| value.map(i64::from));
                        *has_missing |= spool(numbers, &mut self.file)?;
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        push().map_err(Error::io(&self.folder))
    }

    /// Writes the columns into obs.
    pub(super) fn write(self, obs: &Node) -> Result<()> {
        let spooled = self.columns.into_iter().filter_map(|(name, held)| Some((name, held?)));
        let columns = spooled.map(|(name, held)| Written::create(obs, &name, held));
        let columns: Vec<Written> = columns.collect::<Result<_>>()?;
        let failed = || Error::io(&self.folder);
        let mut file = self.file.into_inner().map_err(|error| failed()(error.into_error()))?;
        file.rewind().map_err(failed())?;
        let mut file = BufReader::new(file);
        while let Some(n) = read_start(&mut file).map_err(failed())? {
            for column in &columns {
                column.append(&mut file, n, failed())?;
            }
        }
        Ok(())
    }
}

/// Writes numbers to the spool; whether any is missing.
fn spool(
    numbers: impl Iterator<Item = Option<i64>>,
    file: &mut impl Write,
) -> std::io::Result<bool> {
    let mut has_missing = false;
    for number in numbers {
        has_missing |= number.is_none();
        file.write_all(&[number.is_none().into()])?;
        file.write_all(&number.unwrap_or_default().to_le_bytes())?;
    }
    Ok(has_missing)
}

fn read_number(file: &mut impl Read) -> std::io::Result<Option<i64>> {
    let mut bytes = [0; 9];
    file.read_exact(&mut bytes)?;
    let [is_missing, number @ ..] = bytes;
    Ok((is_missing == 0).then(|| i64::from_le_bytes(number)))
}

impl Dictionary {
    /// Writes values to the spool, by their codes where they have some.
    fn spool(
        &mut self,
        values: &[Option<String>],
        n_bytes: &mut usize,
        file: &mut impl Write,
    ) -> std::io::Result<()> {
        for value in values {
            let code = self.code(value.as_deref(), n_bytes);
            file.write_all(&code.to_le_bytes())?;
            if let (PLAIN, Some(text)) = (code, value) {
                file.write_all(&(text.len() as u64).to_le_bytes())?;
                file.write_all(text.as_bytes())?;
            }
        }
        Ok(())
    }

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
    /// Whole numbers or truth values.
    Numbers { is_boolean: bool, values: Array, mask: Option<Array> },
}

impl Written {
    fn create(obs: &Node, name: &str, held: Held) -> Result<Self> {
        match held {
            Held::Words(dictionary) => Self::words(obs, name, dictionary),
            Held::Numbers { is_boolean, has_missing } => {
                Self::numbers(obs, name, is_boolean, has_missing)
            }
        }
    }

    fn numbers(obs: &Node, name: &str, is_boolean: bool, has_missing: bool) -> Result<Self> {
        let array = |node: &Node, name: &str| match is_boolean {
            true => node.array::<HBool>(name, CHUNK_CELLS),
            false => node.array::<i64>(name, CHUNK_CELLS),
        };
        if !has_missing {
            return Ok(Self::Numbers { is_boolean, values: array(obs, name)?, mask: None });
        }
        let encoding = if is_boolean { "nullable-boolean" } else { "nullable-integer" };
        let group = obs.group(name, (encoding, "0.1.0"))?;
        let mask = Some(group.array::<HBool>("mask", CHUNK_CELLS)?);
        Ok(Self::Numbers { is_boolean, values: array(&group, "values")?, mask })
    }

    fn words(obs: &Node, name: &str, dictionary: Dictionary) -> Result<Self> {
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

    /// Takes the next `n` values from the spool.
    fn append(
        &self,
        file: &mut impl Read,
        n: u64,
        failed: impl FnOnce(std::io::Error) -> Error,
    ) -> Result<()> {
        if let Self::Numbers { is_boolean, values, mask } = self {
            let block: std::io::Result<Vec<_>> = (0..n).map(|_| read_number(file)).collect();
            return append_numbers(&block.map_err(failed)?, *is_boolean, values, mask.as_ref());
        }
        let block: std::io::Result<Vec<_>> = (0..n).map(|_| read_value(file)).collect();
        self.append_words(&block.map_err(failed)?)
    }

    fn append_words(&self, block: &[Value]) -> Result<()> {
        match self {
            Self::Numbers { .. } => Ok(()),
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

fn append_numbers(
    block: &[Option<i64>],
    is_boolean: bool,
    values: &Array,
    mask: Option<&Array>,
) -> Result<()> {
    let numbers = block.iter().map(|number| number.unwrap_or_default());
    if is_boolean {
        values.append(&numbers.map(|n| HBool::from(n != 0)).collect::<Vec<HBool>>())?;
    } else {
        values.append(&numbers.collect::<Vec<i64>>())?;
    }
    let Some(mask) = mask else { return Ok(()) };
    mask.append(&block.iter().map(|n| HBool::from(n.is_none())).collect::<Vec<HBool>>())
}
