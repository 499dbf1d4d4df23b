//! Cells as Arrow batches and back.

use arrow2::{
    array::{
        Array, ListArray, MutableListArray, MutablePrimitiveArray, PrimitiveArray, TryExtend,
        Utf8Array,
    },
    chunk::Chunk,
    datatypes::{DataType, Field, Metadata, Schema},
    error::Error,
};
use gf_tokenize::TokenId;

use super::ShardKey;
use crate::{CellShifts, Effect};

const SETTINGS: &str = "gf.settings";
const SHARD: &str = "gf.shard";
const N_CELLS: &str = "gf.cells";
const STATE_PREFIX: &str = "shift_to_";
/// Columns before those of the states.
const N_FIXED: usize = 5;

/// The columns, and the key as metadata.
pub(super) fn schema(key: &ShardKey) -> Schema {
    let tokens = DataType::List(Box::new(Field::new("item", DataType::UInt32, true)));
    let mut fields = vec![
        Field::new("row", DataType::UInt64, false),
        Field::new("cell_id", DataType::Utf8, false),
        Field::new("perturbed", tokens, false),
        Field::new("affected", DataType::UInt32, true),
        Field::new("cosine", DataType::Float64, false),
    ];
    let state =
        |state: &String| Field::new(format!("{STATE_PREFIX}{state}"), DataType::Float64, true);
    fields.extend(key.states.iter().map(state));
    let (index, n_shards) = key.shard;
    let metadata = Metadata::from([
        (SETTINGS.to_owned(), key.settings.clone()),
        (SHARD.to_owned(), format!("{index}/{n_shards}")),
        (N_CELLS.to_owned(), key.n_cells.to_string()),
    ]);
    Schema { fields, metadata }
}

/// The key that a schema was made of.
pub(super) fn key(schema: &Schema) -> Option<ShardKey> {
    let (index, n_shards) = schema.metadata.get(SHARD)?.split_once('/')?;
    let states = schema.fields.get(N_FIXED..)?.iter();
    let states = states.map(|field| field.name.strip_prefix(STATE_PREFIX).map(str::to_owned));
    let key = ShardKey {
        settings: schema.metadata.get(SETTINGS)?.clone(),
        states: states.collect::<Option<_>>()?,
        shard: (index.parse().ok()?, n_shards.parse().ok()?),
        n_cells: schema.metadata.get(N_CELLS)?.parse().ok()?,
    };
    (self::schema(&key).fields == schema.fields).then_some(key)
}

/// The rows of a cell: for each effect that of the cell, then those of its genes. A cell
/// without effects has a batch without rows.
pub(super) fn chunk(cell: &CellShifts, n_states: usize) -> Result<Chunk<Box<dyn Array>>, Error> {
    let n_rows = cell.effects.iter().map(|effect| 1 + effect.affected.len()).sum();
    let rows = PrimitiveArray::<u64>::from_vec(vec![cell.row as u64; n_rows]);
    let ids: Utf8Array<i32> = std::iter::repeat_n(Some(&cell.cell_id), n_rows).collect();
    let mut perturbed = MutableListArray::<i32, MutablePrimitiveArray<u32>>::new();
    let mut affected = MutablePrimitiveArray::<u32>::with_capacity(n_rows);
    let mut cosines = Vec::with_capacity(n_rows);
    let mut shifts = vec![MutablePrimitiveArray::<f64>::with_capacity(n_rows); n_states];
    for effect in &cell.effects {
        let genes = || Some(effect.genes.iter().map(|gene| Some(gene.0)));
        perturbed.try_extend(std::iter::repeat_with(genes).take(1 + effect.affected.len()))?;
        affected.push(None);
        cosines.push(effect.cosine);
        shifts.iter_mut().zip(&effect.shifts).for_each(|(column, &shift)| column.push(Some(shift)));
        for (gene, cosine) in &effect.affected {
            affected.push(Some(gene.0));
            cosines.push(*cosine);
            shifts.iter_mut().for_each(|column| column.push(None));
        }
    }
    let perturbed: ListArray<i32> = perturbed.into();
    let affected: PrimitiveArray<u32> = affected.into();
    let cosines = PrimitiveArray::from_vec(cosines);
    let mut columns: Vec<Box<dyn Array>> =
        vec![rows.boxed(), ids.boxed(), perturbed.boxed(), affected.boxed(), cosines.boxed()];
    columns.extend(shifts.into_iter().map(|column| PrimitiveArray::from(column).boxed()));
    Chunk::try_new(columns)
}

/// The effects of a batch; none if its columns are not those of [`schema`].
pub(super) fn effects(chunk: &Chunk<Box<dyn Array>>) -> Option<Vec<Effect>> {
    let columns = chunk.arrays();
    let perturbed = columns.get(2)?.as_any().downcast_ref::<ListArray<i32>>()?;
    let affected = columns.get(3)?.as_any().downcast_ref::<PrimitiveArray<u32>>()?;
    let cosines = columns.get(4)?.as_any().downcast_ref::<PrimitiveArray<f64>>()?;
    let shifts = columns.get(N_FIXED..)?.iter();
    let shifts: Vec<&PrimitiveArray<f64>> =
        shifts.map(|column| column.as_any().downcast_ref()).collect::<Option<_>>()?;
    let mut effects: Vec<Effect> = Vec::new();
    for i in 0..chunk.len() {
        match affected.get(i) {
            Some(gene) => effects.last_mut()?.affected.push((TokenId(gene), cosines.value(i))),
            None => effects.push(Effect {
                genes: tokens(&*perturbed.value(i))?,
                cosine: cosines.value(i),
                shifts: shifts.iter().map(|column| column.get(i)).collect::<Option<_>>()?,
                affected: Vec::new(),
            }),
        }
    }
    Some(effects)
}

fn tokens(array: &dyn Array) -> Option<Vec<TokenId>> {
    let array = array.as_any().downcast_ref::<PrimitiveArray<u32>>()?;
    Some(array.values_iter().copied().map(TokenId).collect())
}
