//! Single fields as they stand in JSON and MessagePack.

use crate::proto;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// Written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A field as it stands in JSON, against the same field of the Protobuf message.
pub(crate) trait Form {
    type Message;
    fn from_message(message: Self::Message) -> Self;
    fn into_message(self) -> Self::Message;
}

macro_rules! same_in_both {
    ($($type:ty),*) => {$(
        impl Form for $type {
            type Message = Self;
            fn from_message(message: Self) -> Self {
                message
            }
            fn into_message(self) -> Self {
                self
            }
        }
    )*};
}
same_in_both!(bool, u32, String);

impl<F: Form> Form for Option<F> {
    type Message = Option<F::Message>;
    fn from_message(message: Self::Message) -> Self {
        message.map(F::from_message)
    }
    fn into_message(self) -> Self::Message {
        self.map(F::into_message)
    }
}

/// A 64-bit integer: a string in JSON, whose readers have 53 bits. Both are read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Wide<T>(pub(crate) T);

macro_rules! wide {
    ($($type:ty, $write:ident);*) => {$(
        impl Form for Wide<$type> {
            type Message = $type;
            fn from_message(message: $type) -> Self {
                Self(message)
            }
            fn into_message(self) -> $type {
                self.0
            }
        }
        impl Serialize for Wide<$type> {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                if out.is_human_readable() { out.collect_str(&self.0) } else { out.$write(self.0) }
            }
        }
    )*};
}
wide!(u64, serialize_u64; i64, serialize_i64);

struct WideVisitor<T>(PhantomData<T>);

impl<T> Visitor<'_> for WideVisitor<T>
where
    T: TryFrom<u64> + TryFrom<i64> + std::str::FromStr,
{
    type Value = Wide<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 64-bit integer, in JSON as a decimal string")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Wide<T>, E> {
        let range = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
        T::try_from(number).map(Wide).map_err(|_| range(()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Wide<T>, E> {
        let range = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
        T::try_from(number).map(Wide).map_err(|_| range(()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Wide<T>, E> {
        let wrong = |_| E::invalid_value(de::Unexpected::Other("that text"), &self);
        text.parse().map(Wide).map_err(|_| wrong(()))
    }
}

impl<'de, T> Deserialize<'de> for Wide<T>
where
    T: TryFrom<u64> + TryFrom<i64> + std::str::FromStr,
{
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(WideVisitor(PhantomData))
    }
}

/// Bytes: Base64 in JSON.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Blob(pub(crate) Bytes);

impl Form for Blob {
    type Message = Bytes;
    fn from_message(message: Bytes) -> Self {
        Self(message)
    }
    fn into_message(self) -> Bytes {
        self.0
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() {
            out.collect_str(&base64::display::Base64Display::new(&self.0, &BASE64))
        } else {
            out.serialize_bytes(&self.0)
        }
    }
}

struct BlobVisitor;

impl Visitor<'_> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, in JSON as Base64")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
        let wrong = |_| E::invalid_value(de::Unexpected::Other("text that is not Base64"), &self);
        BASE64.decode(text).map(|bytes| Blob(bytes.into())).map_err(wrong)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(Bytes::copy_from_slice(bytes)))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(BlobVisitor)
    }
}

/// An enum: its name in the `.proto` file; a number where this version has no name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Named<E>(pub(crate) i32, PhantomData<E>);

impl<E> Default for Named<E> {
    fn default() -> Self {
        Self(0, PhantomData)
    }
}

impl<E> Form for Named<E> {
    type Message = i32;
    fn from_message(message: i32) -> Self {
        Self(message, PhantomData)
    }
    fn into_message(self) -> i32 {
        self.0
    }
}

/// The names prost generates.
pub(crate) trait Names: TryFrom<i32> + Into<i32> {
    fn name(self) -> &'static str;
    fn from_name(name: &str) -> Option<Self>;
}

macro_rules! names {
    ($($type:ident),*) => {$(
        impl Names for proto::$type {
            fn name(self) -> &'static str {
                self.as_str_name()
            }
            fn from_name(name: &str) -> Option<Self> {
                Self::from_str_name(name)
            }
        }
    )*};
}
names!(CaptureSource, Priority, Codec, PixelFormat, GapReason);

impl<E: Names> Serialize for Named<E> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match E::try_from(self.0) {
            Ok(known) => out.serialize_str(known.name()),
            Err(_) => out.serialize_i32(self.0),
        }
    }
}

impl<E: Names> Visitor<'_> for Named<E> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an enum's name or number")
    }

    fn visit_str<Err: de::Error>(self, name: &str) -> Result<Self, Err> {
        Ok(Self(E::from_name(name).map_or(0, Into::into), PhantomData))
    }

    fn visit_i64<Err: de::Error>(self, number: i64) -> Result<Self, Err> {
        Ok(Self(i32::try_from(number).unwrap_or(0), PhantomData))
    }

    fn visit_u64<Err: de::Error>(self, number: u64) -> Result<Self, Err> {
        Ok(Self(i32::try_from(number).unwrap_or(0), PhantomData))
    }
}

impl<'de, E: Names> Deserialize<'de> for Named<E> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Self::default())
    }
}
