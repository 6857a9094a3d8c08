//! The header as JSON, and the envelopes that carry it as JSON or MessagePack.
//!
//! JSON follows the proto3 JSON mapping with the field names of the `.proto` files: 64-bit integers
//! are decimal strings, enums their names, bytes Base64. MessagePack is the same map with native
//! integers and bytes. Unknown fields are ignored, unknown enum names are 0.

use crate::fields::check_version;
use crate::form::{Blob, Form, Named, Wide};
use crate::record::{absent, unknown_content_type};
use crate::{FrameRecord, Header, MAX_GAPS, MAX_HEADER_BYTES, WireError, proto};
use bytes::Bytes;
use lumenbus_frame::Codec;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Deepest nesting read; the header's own is 3.
const MAX_DEPTH: usize = 32;

impl Header {
    /// The header as one line of JSON, for the record header `lb-json` and for people.
    #[must_use]
    pub fn to_json(&self) -> String {
        let form = HeaderForm::from_message(self.to_proto());
        serde_json::to_string(&form).expect("the form holds nothing that JSON cannot")
    }

    /// Reads what [`to_json`](Self::to_json) writes.
    ///
    /// # Errors
    /// As [`Header::decode`], and [`WireError::Json`].
    pub fn from_json(text: &str) -> Result<Self, WireError> {
        if text.len() > MAX_HEADER_BYTES {
            let (bytes, limit) = (text.len() as u64, MAX_HEADER_BYTES as u64);
            return Err(WireError::TooLarge { what: "the `lb-json` header", bytes, limit });
        }
        let form: HeaderForm = serde_json::from_str(text).map_err(|source| WireError::Json { source })?;
        Self::from_proto(form.into_message())
    }
}

#[derive(Serialize)]
struct EnvelopeOut<'a> {
    header: HeaderForm,
    content_type: &'a str,
    payload: Blob,
}

pub(crate) fn to_json(header: &Header, content_type: &str, payload: &Bytes) -> Bytes {
    let out = envelope_out(header, content_type, payload);
    let text = serde_json::to_vec(&out).expect("the form holds nothing that JSON cannot");
    text.into()
}

pub(crate) fn to_msgpack(header: &Header, content_type: &str, payload: &Bytes) -> Bytes {
    let out = envelope_out(header, content_type, payload);
    let mut bytes = Vec::with_capacity(payload.len() + 512);
    let mut writer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    out.serialize(&mut writer).expect("the form holds nothing that MessagePack cannot");
    bytes.into()
}

fn envelope_out<'a>(header: &Header, content_type: &'a str, payload: &Bytes) -> EnvelopeOut<'a> {
    let header = HeaderForm::from_message(header.to_proto());
    EnvelopeOut { header, content_type, payload: Blob(payload.clone()) }
}

/// What must be readable of an envelope of any version.
#[derive(Deserialize)]
struct AnyEnvelope {
    header: AnyHeader,
}

#[derive(Deserialize)]
struct AnyHeader {
    version: u32,
}

/// An envelope of another version is called that, not damaged.
fn unreadable(version: Option<AnyEnvelope>, error: WireError) -> WireError {
    version.and_then(|envelope| check_version(envelope.header.version).err()).unwrap_or(error)
}

#[derive(Deserialize)]
struct JsonEnvelope<'a> {
    header: HeaderForm,
    #[serde(borrow)]
    content_type: Cow<'a, str>,
    payload: Blob,
}

pub(crate) fn from_json(value: &Bytes) -> Result<FrameRecord, WireError> {
    let read: JsonEnvelope<'_> = serde_json::from_slice(value)
        .map_err(|source| unreadable(serde_json::from_slice(value).ok(), WireError::Json { source }))?;
    frame_record(read.header, &read.content_type, read.payload.0)
}

#[derive(Deserialize)]
struct MsgpackEnvelope<'a> {
    header: HeaderForm,
    content_type: &'a str,
    payload: &'a [u8],
}

pub(crate) fn from_msgpack(value: &Bytes) -> Result<FrameRecord, WireError> {
    let read: MsgpackEnvelope<'_> =
        msgpack(value).map_err(|source| unreadable(msgpack(value).ok(), WireError::Msgpack { source }))?;
    let payload = value.slice_ref(read.payload);
    frame_record(read.header, read.content_type, payload)
}

fn msgpack<'a, T: Deserialize<'a>>(value: &'a Bytes) -> Result<T, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(value);
    reader.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut reader)
}

fn frame_record(form: HeaderForm, content_type: &str, payload: Bytes) -> Result<FrameRecord, WireError> {
    if content_type.is_empty() {
        return Err(absent("content_type"));
    }
    let codec = Codec::from_content_type(content_type).ok_or_else(|| unknown_content_type(content_type))?;
    let header = Header::from_proto(form.into_message())?;
    Ok(FrameRecord { header, header_bytes: Bytes::new(), codec, payload })
}

/// Gaps, at most [`MAX_GAPS`] of them, whatever length is claimed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
struct Gaps(Vec<GapForm>);

impl Form for Gaps {
    type Message = Vec<proto::Gap>;
    fn from_message(message: Self::Message) -> Self {
        Self(message.into_iter().map(GapForm::from_message).collect())
    }
    fn into_message(self) -> Self::Message {
        self.0.into_iter().map(GapForm::into_message).collect()
    }
}

impl<'de> Visitor<'de> for Gaps {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("at most 1024 gaps")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while let Some(gap) = items.next_element()? {
            if self.0.len() == MAX_GAPS {
                return Err(de::Error::invalid_length(MAX_GAPS + 1, &"at most 1024 gaps"));
            }
            self.0.push(gap);
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for Gaps {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_seq(Self::default())
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The JSON form of a message: every field of it (the compiler sees to that), `always` written or only
/// `when set`.
macro_rules! form {
    ($form:ident of $message:ident {
        always { $($shown:ident: $shown_type:ty),* }
        when_set { $($field:ident: $type:ty),* }
    }) => {
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default)]
        struct $form {
            $($shown: $shown_type,)*
            $(#[serde(skip_serializing_if = "is_default")] $field: $type,)*
        }

        impl Form for $form {
            type Message = proto::$message;
            fn from_message(message: proto::$message) -> Self {
                Self {
                    $($shown: Form::from_message(message.$shown),)*
                    $($field: Form::from_message(message.$field),)*
                }
            }
            fn into_message(self) -> proto::$message {
                proto::$message {
                    $($shown: self.$shown.into_message(),)*
                    $($field: self.$field.into_message(),)*
                }
            }
        }
    };
}

form!(HeaderForm of FrameHeader {
    always {
        version: u32, epoch: Wide<u64>, seq: Wide<u64>, capture_unix_nanos: Wide<i64>,
        capture_source: Named<proto::CaptureSource>, keyframe: bool
    }
    when_set {
        pts: Option<Wide<i64>>, keyframe_distance: Option<Wide<u64>>,
        keyframe_offset: Option<Wide<u64>>, payload_crc32c: Option<u32>,
        deadline_millis: Option<u32>, submit_micros: Option<u32>, queue_micros: Option<u32>,
        discardable: bool, chunk: Option<ChunkForm>, priority: Named<proto::Priority>,
        discontinuity: bool, stream: String, parameters: Option<ParametersForm>, gaps: Gaps,
        batch: Option<BatchForm>, seal: Option<SealForm>, of: Option<FrameRefForm>,
        end: Option<EndForm>, offline: Option<OfflineForm>, repeat: Option<RangeForm>,
        moved: Option<MovedForm>
    }
});

form!(ParametersForm of StreamParameters {
    always {
        codec: Named<proto::Codec>, width: u32, height: u32, timebase_numerator: u32,
        timebase_denominator: u32
    }
    when_set {
        pixel_format: Named<proto::PixelFormat>, rate_frames: u32, rate_seconds: u32,
        codec_string: String
    }
});

form!(GapForm of Gap {
    always { first: Wide<u64>, reason: Named<proto::GapReason> }
    when_set { epoch: Option<Wide<u64>>, last: Option<Wide<u64>>, discardable: bool }
});

form!(RangeForm of SeqRange { always { first: Wide<u64>, last: Wide<u64> } when_set {} });

form!(ChunkForm of Chunk {
    always { index: u32 }
    when_set { count: u32, total_bytes: Wide<u64>, total_crc32c: u32, content_type: String }
});

form!(BatchForm of Batch {
    always { count: u32, last_seq: Wide<u64>, content_type: String }
    when_set {}
});

form!(SealForm of Seal {
    always { algorithm: u32 }
    when_set { key_id: Blob, nonce: Blob, content_type: String }
});

form!(FrameRefForm of FrameRef { always { epoch: Wide<u64>, seq: Wide<u64> } when_set {} });
form!(EndForm of End { always {} when_set { last_seq: Option<Wide<u64>> } });
form!(OfflineForm of Offline { always { since_unix_nanos: Wide<i64>, reason: String } when_set {} });
form!(MovedForm of Moved { always { epoch: Wide<u64>, partition: u32 } when_set {} });
