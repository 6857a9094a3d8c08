//! A look at a Protobuf message without decoding it: which fields, where.

use crate::{WIRE_VERSION, WireError};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Number of `version` in headers and directory entries: the same in every version of the format.
const VERSION_TAG: u32 = 1;

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

/// The major version of a header or directory entry, where it is written first, as it should be.
///
/// For a message that cannot be decoded because it is of another version.
pub(crate) fn peek_version(mut message: &[u8]) -> Option<u32> {
    if decode_key(&mut message).ok()? != (VERSION_TAG, WireType::Varint) {
        return None;
    }
    u32::try_from(decode_varint(&mut message).ok()?).ok()
}

/// [`WireError::Version`] when the message says a version other than ours.
pub(crate) fn check_version_first(message: &[u8]) -> Result<(), WireError> {
    peek_version(message).map_or(Ok(()), check_version)
}

pub(crate) fn check_version(found: u32) -> Result<(), WireError> {
    if found == WIRE_VERSION {
        return Ok(());
    }
    Err(WireError::Version { found, supported: WIRE_VERSION })
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
