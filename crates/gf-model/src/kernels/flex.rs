//! Between a tensor of any backend and the slices of the Flex backend.

use std::any::{Any, TypeId};

use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive, backend::Backend};
use burn_flex::FlexTensor;

use super::downcast;

/// Whether `B` keeps its numbers in host memory, without a tape.
pub fn is_flex<B: Backend>() -> bool {
    TypeId::of::<B::FloatTensorPrimitive>() == TypeId::of::<FlexTensor>()
}

/// The numbers of a tensor as Flex holds them; `None` on another backend or if they
/// are not f32.
pub fn view<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FlexTensor> {
    if !is_flex::<B>() || tensor.dtype() != DType::F32 {
        return None;
    }
    downcast(tensor.clone().into_primitive().tensor())
}

/// Changes the numbers of a tensor, row after row, in their place if nobody else holds
/// them; the tensor as it was where [`view`] gives nothing.
pub fn update<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
    change: impl FnOnce(&mut [f32]),
) -> Result<Tensor<B, D>, Tensor<B, D>> {
    let is_f32 = tensor.dtype() == DType::F32;
    let mut primitive = tensor.into_primitive().tensor();
    let flex = (&mut primitive as &mut dyn Any).downcast_mut::<FlexTensor>();
    let is_changed = match flex.filter(|_| is_f32) {
        None => false,
        Some(flex) => {
            if !flex.is_contiguous() {
                *flex = flex.to_contiguous();
            }
            let (start, end) = flex.layout().contiguous_offsets().unwrap_or((0, 0));
            change(&mut flex.storage_mut()[start..end]);
            true
        }
    };
    let tensor = Tensor::from_primitive(TensorPrimitive::Float(primitive));
    if is_changed { Ok(tensor) } else { Err(tensor) }
}

/// As [`view`], row after row without gaps.
pub fn rows<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FlexTensor> {
    view(tensor).map(|flex| if flex.is_contiguous() { flex } else { flex.to_contiguous() })
}

/// The f32 numbers of contiguous [`rows`].
pub fn slice(rows: &FlexTensor) -> &[f32] {
    rows.as_slice().unwrap_or(&[])
}

/// Numbers as a tensor of the backend that [`view`] found.
pub fn tensor<B: Backend, const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
) -> Option<Tensor<B, D>> {
    let primitive = downcast(FlexTensor::from_data(TensorData::new(values, shape)))?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(primitive)))
}
