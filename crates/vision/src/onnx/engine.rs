//! The engine that runs a model: `rten`, in Rust alone.

use super::error::ModelError;
use super::structure::Structure;
use rten::{DataType, Dimension, Model, NodeId, Value, ValueOrView, ValueType, ValueView};
use rten_tensor::prelude::*;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Numbers of one output; YOLO at 1280 with 80 classes has 3 million.
const MAX_OUTPUT: usize = 1 << 24;
/// Outputs and inputs that are named in a message.
const MAX_NAMED: usize = 8;

/// A model that can be run.
pub(super) struct Engine {
    model: Model,
    outputs: Vec<(NodeId, String)>,
}

/// What a model wants; a side that it leaves open is `None`.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) shape: Vec<Option<usize>>,
    /// `None`: a kind of number that is not handed in.
    pub(super) element: Option<Element>,
    id: NodeId,
}

/// Numbers of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    U8,
}

/// A picture as the model wants it.
#[derive(Debug)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

/// What a model gave.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) is_integer: bool,
    pub(super) data: Vec<f32>,
}

impl Engine {
    /// Loads a model that holds together, and says what it wants.
    pub(super) fn load(bytes: Vec<u8>, structure: &Structure) -> Result<(Self, Vec<Input>), ModelError> {
        let model = catch_unwind(|| Model::load(bytes)).map_err(|_| ModelError::Panicked { doing: "load" })?;
        let model = model.map_err(|error| ModelError::Engine { doing: "load", cause: error.into() })?;
        let name = |id: &NodeId| model.node_info(*id).and_then(|node| node.name()).unwrap_or_default().to_owned();
        let outputs: Vec<_> = model.output_ids().iter().map(|id| (*id, name(id))).collect();
        let inputs = model.input_ids().iter().map(|id| (*id, name(id)));
        let inputs = inputs.filter(|(_, name)| !structure.weights.contains(name)).map(|(id, name)| {
            let node = model.node_info(id);
            let shape = node.as_ref().and_then(rten::NodeInfo::shape).unwrap_or_default();
            let element = match node.and_then(|node| node.dtype()) {
                Some(ValueType::Tensor(DataType::Float)) => Some(Element::F32),
                Some(ValueType::Tensor(DataType::UInt8)) => Some(Element::U8),
                _ => None,
            };
            Input { name, shape: shape.iter().map(fixed).collect(), element, id }
        });
        let inputs = inputs.collect();
        Ok((Self { model, outputs }, inputs))
    }

    /// What the exporter wrote beside the model.
    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        self.model.metadata().get(key)
    }

    /// Runs the model on one picture.
    pub(super) fn run(&self, input: &Input, shape: [usize; 4], numbers: &Numbers) -> Result<Vec<Output>, ModelError> {
        let fault = |cause| ModelError::Engine { doing: "run", cause };
        let view: ValueOrView<'_> = match numbers {
            Numbers::F32(numbers) => ValueView::from_shape(shape, numbers).map_err(|error| fault(error.into()))?.into(),
            Numbers::U8(numbers) => ValueView::from_shape(shape, numbers).map_err(|error| fault(error.into()))?.into(),
        };
        let ids: Vec<_> = self.outputs.iter().map(|(id, _)| *id).collect();
        // The model is not changed by a run, and the plan that it keeps is behind a lock of its own.
        let values = catch_unwind(AssertUnwindSafe(|| self.model.run(vec![(input.id, view)], &ids, None)));
        let values = values.map_err(|_| ModelError::Panicked { doing: "run" })?;
        let values = values.map_err(|error| fault(error.into()))?;
        self.outputs.iter().zip(values).map(|((_, name), value)| output(name, &value)).collect()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

fn fixed(dimension: &Dimension) -> Option<usize> {
    match dimension {
        Dimension::Fixed(size) => Some(*size),
        Dimension::Symbolic(_) => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of classes and of detections are small")]
fn output(name: &str, value: &Value) -> Result<Output, ModelError> {
    let shape = value.shape().to_vec();
    let made = |is_integer, data| Ok(Output { name: name.to_owned(), shape: shape.clone(), is_integer, data });
    let is_small =
        shape.iter().try_fold(1_usize, |all, side| all.checked_mul(*side)).is_some_and(|all| all <= MAX_OUTPUT);
    match value {
        Value::FloatTensor(tensor) if is_small => made(false, tensor.to_vec()),
        Value::Int32Tensor(tensor) if is_small => made(true, tensor.iter().map(|number| *number as f32).collect()),
        _ => {
            Err(ModelError::Output { found: format!("{name:?} {shape:?} is no tensor of up to {MAX_OUTPUT} numbers") })
        }
    }
}

/// Inputs in a message.
pub(super) fn name_inputs(inputs: &[Input]) -> String {
    if inputs.is_empty() {
        return "no input".to_owned();
    }
    let side = |side: &Option<usize>| side.map_or_else(|| "?".to_owned(), |side| side.to_string());
    let named = inputs.iter().take(MAX_NAMED).map(|input| {
        let shape = input.shape.iter().map(side).collect::<Vec<_>>().join(", ");
        let element = input.element.map_or("other numbers", |element| match element {
            Element::F32 => "float32",
            Element::U8 => "uint8",
        });
        format!("{:?} [{shape}] of {element}", shorten(&input.name))
    });
    named.collect::<Vec<_>>().join(", ")
}

/// Outputs in a message.
pub(super) fn name_outputs(outputs: &[Output]) -> String {
    let named = outputs.iter().take(MAX_NAMED).map(|output| format!("{:?} {:?}", shorten(&output.name), output.shape));
    let named = named.collect::<Vec<_>>().join(", ");
    if named.is_empty() { "none".to_owned() } else { named }
}

fn shorten(name: &str) -> String {
    name.chars().take(64).collect()
}
