//! Checks the layout of a request body before anything is allocated for it.
//!
//! The generated decoders reserve room for as many array elements as the request claims to hold,
//! so four hostile bytes could ask for hundreds of gigabytes. This walker skips over the body with
//! the layout of its API and version, allocates nothing, and lets a body through only when every
//! length lies inside the bytes that are there and the number of elements is within a limit.

use std::fmt;

/// Array elements and tagged fields a single request may hold.
///
/// A decoded element takes up to some hundred bytes whatever its size on the wire, so this limit
/// (and not the size of the request) bounds what decoding allocates: about 30 MB.
pub(crate) const MAX_REQUEST_ELEMENTS: usize = 100_000;

/// In front of a nullable structure that is there.
const PRESENT: u8 = 1;

/// How one field is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A number of so many bytes.
    Fixed(usize),
    /// A string, nullable or not; compact in flexible versions.
    Str,
    /// Bytes or records, nullable or not; compact in flexible versions.
    Bytes,
    /// An array of numbers of so many bytes.
    FixedArray(usize),
    /// An array of strings.
    StrArray,
    /// An array of structures.
    Array(&'static [Field]),
    /// A structure behind a byte that says whether it is there.
    Optional(&'static [Field]),
}

/// One field and the versions it occurs in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// First version with the field.
    pub(crate) since: i16,
    /// Last version with the field.
    pub(crate) until: i16,
    /// Its layout.
    pub(crate) kind: Kind,
}

/// A field of every version.
pub(crate) const fn always(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}

/// A field from a version on.
pub(crate) const fn since(version: i16, kind: Kind) -> Field {
    between(version, i16::MAX, kind)
}

/// A field of the versions `first..=last`.
pub(crate) const fn between(first: i16, last: i16, kind: Kind) -> Field {
    Field { since: first, until: last, kind }
}

/// Why a body was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misshapen {
    /// A length points behind the end of the request.
    Truncated,
    /// A length below −1.
    NegativeLength,
    /// More than [`MAX_REQUEST_ELEMENTS`].
    TooManyElements,
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("a length points behind the end of the request"),
            Self::NegativeLength => f.write_str("a length is below -1"),
            Self::TooManyElements => {
                write!(f, "more than {MAX_REQUEST_ELEMENTS} elements in one request")
            }
        }
    }
}

/// Walks over `body` laid out as `fields` in `version`; flexible versions have compact lengths and
/// tagged fields.
pub(crate) fn check(body: &[u8], fields: &[Field], version: i16, flexible: Flexible) -> Result<(), Misshapen> {
    let mut walker = Walker { rest: body, elements_left: MAX_REQUEST_ELEMENTS, version, flexible };
    walker.structure(fields)
}

/// Skips the tagged fields of a flexible request header; returns how many bytes they take.
pub(crate) fn tagged_fields_len(bytes: &[u8]) -> Result<usize, Misshapen> {
    let mut walker = Walker { rest: bytes, elements_left: MAX_REQUEST_ELEMENTS, version: 0, flexible: Flexible::Yes };
    walker.tagged_fields()?;
    Ok(bytes.len() - walker.rest.len())
}

/// Whether a version uses KIP-482 compact lengths and tagged fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flexible {
    /// Compact lengths, tagged fields.
    Yes,
    /// Fixed-width lengths, no tagged fields.
    No,
}

struct Walker<'a> {
    rest: &'a [u8],
    elements_left: usize,
    version: i16,
    flexible: Flexible,
}

impl Walker<'_> {
    fn structure(&mut self, fields: &[Field]) -> Result<(), Misshapen> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.field(field.kind)?;
            }
        }
        match self.flexible {
            Flexible::Yes => self.tagged_fields(),
            Flexible::No => Ok(()),
        }
    }

    fn field(&mut self, kind: Kind) -> Result<(), Misshapen> {
        match kind {
            Kind::Fixed(width) => self.skip(width),
            Kind::Str => self.string(),
            Kind::Bytes => {
                let length = self.long_length()?;
                self.skip(length)
            }
            Kind::FixedArray(width) => {
                let count = self.count()?;
                self.skip(count * width)
            }
            Kind::StrArray => (0..self.count()?).try_for_each(|_| self.string()),
            Kind::Array(fields) => (0..self.count()?).try_for_each(|_| self.structure(fields)),
            Kind::Optional(fields) => match self.take()? {
                [PRESENT] => self.structure(fields),
                _ => Ok(()),
            },
        }
    }

    fn string(&mut self) -> Result<(), Misshapen> {
        let length = match self.flexible {
            Flexible::Yes => self.compact_length()?,
            Flexible::No => {
                let length = i16::from_be_bytes(self.take()?);
                nullable(i32::from(length))?
            }
        };
        self.skip(length)
    }

    /// The number of elements that follow, charged against the limit.
    fn count(&mut self) -> Result<usize, Misshapen> {
        let count = self.long_length()?;
        self.charge(count)?;
        Ok(count)
    }

    fn charge(&mut self, elements: usize) -> Result<(), Misshapen> {
        self.elements_left = self.elements_left.checked_sub(elements).ok_or(Misshapen::TooManyElements)?;
        Ok(())
    }

    fn long_length(&mut self) -> Result<usize, Misshapen> {
        match self.flexible {
            Flexible::Yes => self.compact_length(),
            Flexible::No => {
                let length = i32::from_be_bytes(self.take()?);
                nullable(length)
            }
        }
    }

    /// Compact lengths are one higher than the length; 0 is null.
    fn compact_length(&mut self) -> Result<usize, Misshapen> {
        Ok(self.varint()?.saturating_sub(1))
    }

    fn tagged_fields(&mut self) -> Result<(), Misshapen> {
        let count = self.varint()?;
        self.charge(count)?;
        for _ in 0..count {
            self.varint()?;
            let length = self.varint()?;
            self.skip(length)?;
        }
        Ok(())
    }

    /// An unsigned varint of at most five bytes, read as the generated decoders read it.
    fn varint(&mut self) -> Result<usize, Misshapen> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        usize::try_from(value).map_err(|_| Misshapen::Truncated)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Misshapen> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Misshapen::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn skip(&mut self, length: usize) -> Result<(), Misshapen> {
        self.rest = self.rest.get(length..).ok_or(Misshapen::Truncated)?;
        Ok(())
    }
}

/// −1 is null and takes no bytes.
fn nullable(length: i32) -> Result<usize, Misshapen> {
    match length {
        -1 => Ok(0),
        length => usize::try_from(length).map_err(|_| Misshapen::NegativeLength),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[Field] = &[always(Kind::Array(&[always(Kind::Str), since(1, Kind::FixedArray(4))]))];

    #[test]
    fn a_claimed_length_must_be_there() {
        let hostile = i32::MAX.to_be_bytes();
        assert_eq!(check(&hostile, NAMES, 0, Flexible::No), Err(Misshapen::TooManyElements));
        let two_claimed_one_there = [0, 0, 0, 2, 0, 1, b'a'];
        assert_eq!(check(&two_claimed_one_there, NAMES, 0, Flexible::No), Err(Misshapen::Truncated));
        assert_eq!(check(&[0xff, 0xff, 0xff, 0xfe], NAMES, 0, Flexible::No), Err(Misshapen::NegativeLength));
        assert_eq!(check(&[0xff; 4], NAMES, 0, Flexible::No), Ok(()));
    }

    #[test]
    fn fields_outside_their_versions_take_no_bytes() {
        let one_name = [0, 0, 0, 1, 0, 1, b'a'];
        assert_eq!(check(&one_name, NAMES, 0, Flexible::No), Ok(()));
        assert_eq!(check(&one_name, NAMES, 1, Flexible::No), Err(Misshapen::Truncated));
    }

    #[test]
    fn tagged_fields_are_counted_and_skipped() {
        assert_eq!(tagged_fields_len(&[1, 7, 2, 0xaa, 0xbb, 9]), Ok(5));
        assert_eq!(tagged_fields_len(&[1, 7, 3, 0xaa]), Err(Misshapen::Truncated));
        assert_eq!(tagged_fields_len(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Misshapen::TooManyElements));
    }
}
