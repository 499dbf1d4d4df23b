//! One weight matrix in bitsandbytes' 4-bit layout.

use bytemuck::pod_collect_to_vec;
use gf_model::checkpoint::TensorStore;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::Place;
use crate::{
    Error,
    double::{DYNAMIC_MAP, DoubleQuantized, NESTED_BLOCK_SIZE},
    nf4::{Absmax, BLOCK_SIZE, LEVELS, Nf4},
    tensors::{Checked, StoredTensor},
};

const STATE: &str = "quant_state.bitsandbytes__nf4";

/// What is not a tensor of its own, as JSON in a tensor of bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct QuantState {
    quant_type: String,
    blocksize: usize,
    dtype: String,
    shape: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nested_blocksize: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nested_dtype: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nested_offset: Option<f32>,
}

impl QuantState {
    fn new(shape: [usize; 2], offset: Option<f32>) -> Self {
        Self {
            quant_type: "nf4".to_owned(),
            blocksize: BLOCK_SIZE,
            dtype: "float32".to_owned(),
            shape: shape.to_vec(),
            nested_blocksize: offset.map(|_| NESTED_BLOCK_SIZE),
            nested_dtype: offset.map(|_| "float32".to_owned()),
            nested_offset: offset,
        }
    }
}

/// The matrix as it is stored, or quantised from a dense one.
pub(super) fn read_or_quantize(file: &TensorStore, place: &Place) -> Result<Nf4, Error> {
    if file.get(&part(place, STATE)).is_some() {
        return read(file, place);
    }
    Ok(Nf4::quantize_double(&place.dense(file)?))
}

fn part(place: &Place, part: &str) -> String {
    format!("{}.weight.{part}", place.name)
}

fn read(file: &TensorStore, place: &Place) -> Result<Nf4, Error> {
    let name = part(place, STATE);
    let text = file.view(&name)?.data();
    let state: QuantState = serde_json::from_slice(text)
        .map_err(|error| file.error(&name, error.to_string(), "a JSON of bitsandbytes"))?;
    let expected = QuantState {
        dtype: state.dtype.clone(),
        ..QuantState::new(place.shape, state.nested_offset)
    };
    if state != expected {
        return Err(file.error(&name, format!("{state:?}"), format!("{expected:?}")));
    }
    same_map(file, &part(place, "quant_map"), &LEVELS)?;
    let n_values = place.shape.iter().product::<usize>();
    let n_blocks = n_values.div_ceil(BLOCK_SIZE);
    let absmax = part(place, "absmax");
    let absmax = match state.nested_offset {
        None => Absmax::Single(file.finite(&absmax, &[n_blocks])?),
        Some(offset) => {
            same_map(file, &part(place, "nested_quant_map"), &*DYNAMIC_MAP)?;
            let n_nested = n_blocks.div_ceil(NESTED_BLOCK_SIZE);
            Absmax::Double(DoubleQuantized {
                codes: file.bytes(&absmax, Dtype::U8, n_blocks)?,
                nested_absmax: file.finite(&part(place, "nested_absmax"), &[n_nested])?,
                offset,
            })
        }
    };
    let packed = file.bytes(&place.weight(), Dtype::U8, n_values.div_ceil(2))?;
    Ok(Nf4 { packed, absmax, n_values })
}

fn same_map(file: &TensorStore, name: &str, expected: &[f32]) -> Result<(), Error> {
    let found: Vec<f32> = pod_collect_to_vec(&file.bytes(name, Dtype::F32, expected.len())?);
    if found == expected {
        return Ok(());
    }
    Err(file.error(name, "another code book", format!("{expected:?}")))
}

/// The tensors of a matrix, by name.
pub(super) fn tensors(place: &Place, nf4: &Nf4) -> Vec<(String, StoredTensor<'static>)> {
    let vector = |values: &[f32]| StoredTensor::f32(values, vec![values.len()]);
    let mut weight = StoredTensor::u8(nf4.packed.clone());
    weight.shape.push(1);
    let mut tensors = vec![(place.weight(), weight), (part(place, "quant_map"), vector(&LEVELS))];
    let offset = match &nf4.absmax {
        Absmax::Single(absmax) => {
            tensors.push((part(place, "absmax"), vector(absmax)));
            None
        }
        Absmax::Double(double) => {
            tensors.extend([
                (part(place, "absmax"), StoredTensor::u8(double.codes.clone())),
                (part(place, "nested_absmax"), vector(&double.nested_absmax)),
                (part(place, "nested_quant_map"), vector(&*DYNAMIC_MAP)),
            ]);
            Some(double.offset)
        }
    };
    let state = serde_json::to_vec(&QuantState::new(place.shape, offset)).unwrap_or_default();
    tensors.push((part(place, STATE), StoredTensor::u8(state)));
    tensors
}
