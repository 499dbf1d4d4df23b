//! The NF4 product on a tape for gradients, which keeps the codes and no weight in floating
//! point: the gradient of the input is the transposed product, and the weight has none.

use burn::{
    backend::{
        Autodiff,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind, unary},
        },
    },
    module::Param,
    tensor::{
        Int, Tensor, TensorPrimitive,
        backend::Backend,
        ops::{FloatTensor, IntTensor},
    },
};
use gf_model::kernels::downcast;

use crate::linear::nf4::{BlockScales, DoubleScales, Nf4Linear};

/// `input · Wᵀ` where `B` is autodiff over `I`.
pub fn product<B: Backend, I: Backend>(
    layer: &Nf4Linear<B>,
    input: &Tensor<B, 3>,
) -> Option<Tensor<B, 3>> {
    let input = taped::<B, I, 3>(input)?;
    let layer = without_tape::<B, I>(layer)?;
    let output = tensor::<I>(input.primitive);
    let output = layer.product(output).into_primitive().tensor();
    let prepared = FrozenProduct.prepare::<NoCheckpointing>([input.node]).compute_bound();
    let output: FloatTensor<Autodiff<I>> = match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(layer, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    let output = downcast::<FloatTensor<B>>(output)?;
    Some(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

#[derive(Debug)]
struct FrozenProduct;

impl<I: Backend> Backward<I, 1> for FrozenProduct {
    type State = Nf4Linear<I>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let layer = ops.state;
        unary::<I, _>(ops.parents, ops.node, gradients, |gradient| {
            layer.transposed_product(tensor::<I>(gradient)).into_primitive().tensor()
        });
    }
}

/// The same codes and scales below the tape; the bias stays above.
fn without_tape<B: Backend, I: Backend>(layer: &Nf4Linear<B>) -> Option<Nf4Linear<I>> {
    let scales = match &layer.scales {
        BlockScales::Single(absmax) => BlockScales::Single(floats::<B, I>(absmax)?),
        BlockScales::Double(double) => BlockScales::Double(DoubleScales {
            words: ints::<B, I>(&double.words)?,
            nested_absmax: floats::<B, I>(&double.nested_absmax)?,
            offset: double.offset,
        }),
    };
    let (d_input, d_output) = (layer.d_input, layer.d_output);
    Some(Nf4Linear { words: ints::<B, I>(&layer.words)?, scales, bias: None, d_input, d_output })
}

fn floats<B: Backend, I: Backend>(param: &Param<Tensor<B, 1>>) -> Option<Param<Tensor<I, 1>>> {
    let primitive = taped::<B, I, 1>(&param.val())?.primitive;
    let tensor = Tensor::from_primitive(TensorPrimitive::Float(primitive));
    Some(Param::initialized(param.id, tensor))
}

fn ints<B: Backend, I: Backend>(
    param: &Param<Tensor<B, 1, Int>>,
) -> Option<Param<Tensor<I, 1, Int>>> {
    let primitive = downcast::<IntTensor<I>>(param.val().into_primitive())?;
    Some(Param::initialized(param.id, Tensor::from_primitive(primitive)))
}

fn taped<B: Backend, I: Backend, const D: usize>(
    tensor: &Tensor<B, D>,
) -> Option<FloatTensor<Autodiff<I>>> {
    downcast(tensor.clone().into_primitive().tensor())
}

fn tensor<I: Backend>(primitive: FloatTensor<I>) -> Tensor<I, 3> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}
