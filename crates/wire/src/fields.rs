//! A look at a Protobuf message without decoding it: which fields, where.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The top-level fields of a message in the order they are written: number and, for a
/// length-delimited field, its content.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn read(&mut self) -> Result<(u32, Option<&'a [u8]>), DecodeError> {
        let (tag, wire_type) = decode_key(&mut self.rest)?;
        let field = self.rest;
        skip_field(wire_type, tag, &mut self.rest, DecodeContext::default())?;
        if wire_type != WireType::LengthDelimited {
            return Ok((tag, None));
        }
        let mut content = &field[..field.len() - self.rest.len()];
        decode_varint(&mut content)?;
        Ok((tag, Some(content)))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Option<&'a [u8]>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}
