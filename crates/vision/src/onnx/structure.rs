//! A look at a model's bytes before the engine sees them: it believes every length, and follows every nesting.

use super::error::ModelError;
use std::collections::HashSet;

/// Graphs within graphs (`If`, `Loop`); the usual models have two.
const MAX_DEPTH: usize = 16;
/// The largest known detectors have about 6,000.
const MAX_NODES: usize = 20_000;

/// The messages of `onnx.proto` that hold others, by field numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// Numbers and strings only.
    Flat,
}

impl Message {
    fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::ValueInfo,
            (Self::ValueInfo, 2) | (Self::Attribute, 14 | 15) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Model, 8 | 14) | (Self::Tensor, 13) | (Self::Shape, 1) => Self::Flat,
            _ => return None,
        })
    }
}

/// What is known of a model that holds together.
#[derive(Debug, Default)]
pub(super) struct Structure {
    /// Names of the weights: old models list them among their inputs.
    pub(super) weights: HashSet<String>,
    nodes: usize,
}

impl Structure {
    /// Walks through all of `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, ModelError> {
        let mut structure = Self::default();
        let mut has_graph = false;
        structure.walk(Message::Model, Reader { bytes, at: 0, end: bytes.len() }, 0, &mut has_graph)?;
        if has_graph { Ok(structure) } else { Err(ModelError::Structure { what: "no graph", at: bytes.len() }) }
    }

    fn walk(
        &mut self,
        message: Message,
        mut reader: Reader<'_>,
        depth: usize,
        has_graph: &mut bool,
    ) -> Result<(), ModelError> {
        // A graph in a graph is three messages deeper.
        if depth > 3 * MAX_DEPTH {
            return Err(reader.fault("graphs nested too deeply"));
        }
        while reader.at < reader.end {
            let (field, content) = reader.field()?;
            let Some(content) = content else { continue };
            let Some(child) = message.child(field) else { continue };
            if child == Message::Node {
                self.nodes += 1;
                if self.nodes > MAX_NODES {
                    return Err(reader.fault("too many operators"));
                }
            }
            *has_graph |= child == Message::Graph;
            if (message, child) == (Message::Graph, Message::Tensor) {
                self.weights.extend(tensor_name(content)?);
            }
            self.walk(child, content, depth + 1, has_graph)?;
        }
        Ok(())
    }
}

fn tensor_name(mut tensor: Reader<'_>) -> Result<Option<String>, ModelError> {
    while tensor.at < tensor.end {
        if let (8, Some(name)) = tensor.field()? {
            return Ok(std::str::from_utf8(&name.bytes[name.at..name.end]).ok().map(str::to_owned));
        }
    }
    Ok(None)
}

/// Goes through the fields of one message.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn fault(&self, what: &'static str) -> ModelError {
        ModelError::Structure { what, at: self.at }
    }

    /// The next field's number, and what it holds when that has a length.
    fn field(&mut self) -> Result<(u64, Option<Reader<'a>>), ModelError> {
        let tag = self.varint()?;
        let held = match tag & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => self.skip(8).map(|_| None)?,
            2 => {
                let length = self.varint()?;
                Some(self.skip(length)?)
            }
            5 => self.skip(4).map(|_| None)?,
            _ => return Err(self.fault("an unknown kind of field")),
        };
        Ok((tag >> 3, held))
    }

    fn skip(&mut self, length: u64) -> Result<Reader<'a>, ModelError> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let Some(end) = end.filter(|end| *end <= self.end) else {
            return Err(self.fault("a length beyond the end"));
        };
        let held = Reader { bytes: self.bytes, at: self.at, end };
        self.at = end;
        Ok(held)
    }

    fn varint(&mut self) -> Result<u64, ModelError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.at >= self.end {
                return Err(self.fault("a number cut off"));
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fault("a number without an end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with a length.
    fn held(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend_from_slice(content);
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        Structure::of(bytes).unwrap_err().to_string()
    }

    #[test]
    fn weights_are_named() {
        let graph = [held(5, &held(8, b"w1")), held(5, &held(8, b"w2"))].concat();
        let weights = Structure::of(&held(7, &graph)).unwrap().weights;
        assert_eq!(weights, HashSet::from(["w1".to_owned(), "w2".to_owned()]));
    }

    #[test]
    fn lengths_must_fit_what_they_are_in() {
        assert!(refusal(b"").contains("no graph"));
        assert!(refusal(&held(7, &[0x0a, 5, 0])).contains("a length beyond the end at byte 4"));
        assert!(refusal(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).contains("beyond the end"));
        assert!(refusal(&[0x08]).contains("cut off"));
        assert!(refusal(&[0xff; 11]).contains("without an end"));
        assert!(refusal(&[0x0b]).contains("unknown kind"));
    }

    #[test]
    fn nesting_and_operators_have_limits() {
        let nested = |levels: usize| {
            let deeper = |graph: Vec<u8>| held(1, &held(5, &held(6, &graph)));
            held(7, &(0..levels).fold(Vec::new(), |graph, _| deeper(graph)))
        };
        assert!(Structure::of(&nested(MAX_DEPTH - 1)).is_ok());
        assert!(refusal(&nested(MAX_DEPTH + 1)).contains("nested too deeply"));
        let many = |nodes: usize| held(7, &held(1, &[]).repeat(nodes));
        assert!(Structure::of(&many(MAX_NODES)).is_ok());
        assert!(refusal(&many(MAX_NODES + 1)).contains("too many operators"));
    }
}
