//! Protocol data units of the DICOM upper layer (PS3.8, section 9.3) as bytes, and back, checked. No I/O.
//!
//! A reader takes the six bytes of the header, asks [`Header::decode`] whether a unit of that type and length may come
//! now, and only then makes room for its body. Numbers are big endian.

use std::ops::Range;

/// Bytes in front of each unit's body.
pub const HEADER_BYTES: usize = 6;
/// Most bytes of an association request or its answer: 128 contexts of 25 transfer syntaxes each.
pub const MAX_ASSOCIATE_BYTES: u32 = 256 << 10;
/// Presentation contexts of an association: their ids are odd and of one byte.
pub const MAX_CONTEXTS: usize = 128;
/// Transfer syntaxes of one presentation context.
pub const MAX_SYNTAXES: usize = 128;
/// PS3.7, annex A: the only application context there is.
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Length and context and control of a presentation data value.
pub const VALUE_HEADER_BYTES: usize = 6;

const REQUEST: u8 = 1;
const ACCEPT: u8 = 2;
const REJECT: u8 = 3;
const DATA: u8 = 4;
const RELEASE_REQUEST: u8 = 5;
const RELEASE_REPLY: u8 = 6;
const ABORT: u8 = 7;
const ITEM_APPLICATION: u8 = 0x10;
const ITEM_CONTEXT: u8 = 0x20;
const ITEM_CONTEXT_ANSWER: u8 = 0x21;
const ITEM_ABSTRACT: u8 = 0x30;
const ITEM_TRANSFER: u8 = 0x40;
const ITEM_USER: u8 = 0x50;
const ITEM_MAX_LENGTH: u8 = 0x51;
const ITEM_CLASS: u8 = 0x52;
const ITEM_VERSION: u8 = 0x55;
const AE_BYTES: usize = 16;
const UID_BYTES: usize = 64;
/// Version, two reserved bytes, both titles and 32 reserved bytes.
const FIXED_BYTES: usize = 4 + 2 * AE_BYTES + 32;

/// Bytes that are no protocol data unit, or none that may come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PduError {
    /// A type that PS3.8 does not have.
    #[error("{0:#04x} is no type of a protocol data unit: the peer does not speak DICOM")]
    Type(u8),
    /// Longer than was agreed, or of another length than the type has.
    #[error("a protocol data unit of type {kind:#04x} has {length} bytes; at most {limit} can be")]
    Length {
        /// Its type.
        kind: u8,
        /// As it says.
        length: u32,
        /// What it may be at most.
        limit: u32,
    },
    /// A body that contradicts itself.
    #[error("{part} of a protocol data unit is wrong: {what}")]
    Form {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Types of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A-ASSOCIATE-RQ
    Request,
    /// A-ASSOCIATE-AC
    Accept,
    /// A-ASSOCIATE-RJ
    Reject,
    /// P-DATA-TF
    Data,
    /// A-RELEASE-RQ
    ReleaseRequest,
    /// A-RELEASE-RP
    ReleaseReply,
    /// A-ABORT
    Abort,
}

/// What is in front of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What comes.
    pub kind: Kind,
    /// Bytes of the body.
    pub length: u32,
}

impl Header {
    /// Reads it; data may have `max_data` bytes, every other type what PS3.8 or this crate gives it.
    ///
    /// # Errors
    /// [`PduError::Type`] and [`PduError::Length`].
    pub fn decode(bytes: [u8; HEADER_BYTES], max_data: u32) -> Result<Self, PduError> {
        let [code, _, length @ ..] = bytes;
        let length = u32::from_be_bytes(length);
        let (kind, lengths) = match code {
            REQUEST => (Kind::Request, 0..=MAX_ASSOCIATE_BYTES),
            ACCEPT => (Kind::Accept, 0..=MAX_ASSOCIATE_BYTES),
            REJECT => (Kind::Reject, 4..=4),
            DATA => (Kind::Data, 0..=max_data),
            RELEASE_REQUEST => (Kind::ReleaseRequest, 4..=4),
            RELEASE_REPLY => (Kind::ReleaseReply, 4..=4),
            ABORT => (Kind::Abort, 4..=4),
            other => return Err(PduError::Type(other)),
        };
        if lengths.contains(&length) {
            return Ok(Self { kind, length });
        }
        Err(PduError::Length { kind: code, length, limit: *lengths.end() })
    }
}

/// A context that is proposed: what for, and in which encodings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedContext {
    /// Odd.
    pub id: u8,
    /// SOP class.
    pub abstract_syntax: String,
    /// In the requestor's order.
    pub transfer_syntaxes: Vec<String>,
}

/// An answer to a proposed context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextAnswer {
    /// Of the proposal.
    pub id: u8,
    /// Whether it is accepted, else why not (PS3.8, table 9-18).
    pub result: ContextResult,
    /// The encoding that was chosen; without meaning where the context is refused.
    pub transfer_syntax: String,
}

/// PS3.8, table 9-18.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextResult {
    /// It can be used.
    Accepted,
    /// The SCP does not know the SOP class.
    AbstractSyntaxNotSupported,
    /// It has none of the encodings.
    TransferSyntaxesNotSupported,
    /// Other reasons.
    Refused(u8),
}

impl ContextResult {
    fn code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::AbstractSyntaxNotSupported => 3,
            Self::TransferSyntaxesNotSupported => 4,
            Self::Refused(code) => code,
        }
    }

    fn of(code: u8) -> Self {
        match code {
            0 => Self::Accepted,
            3 => Self::AbstractSyntaxNotSupported,
            4 => Self::TransferSyntaxesNotSupported,
            other => Self::Refused(other),
        }
    }
}

/// A-ASSOCIATE-RQ or A-ASSOCIATE-AC; `C` is what it says of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Associate<C> {
    /// Application entity that is called.
    pub called: String,
    /// Application entity that calls.
    pub calling: String,
    /// The contexts in their order.
    pub contexts: Vec<C>,
    /// Longest P-DATA-TF body that the sender of this unit takes; 0 is any.
    pub max_data: u32,
}

/// A-ASSOCIATE-RQ.
pub type Request = Associate<ProposedContext>;
/// A-ASSOCIATE-AC.
pub type Accept = Associate<ContextAnswer>;

/// Why an association was not accepted (PS3.8, table 9-21).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// 1 for good, 2 for now.
    pub result: u8,
    /// 1 service user, 2 and 3 service provider.
    pub source: u8,
    /// By source.
    pub reason: u8,
}

impl Reject {
    /// Nobody of that name is here.
    pub const CALLED: Self = Self { result: 1, source: 1, reason: 7 };
    /// The caller is not on the list.
    pub const CALLING: Self = Self { result: 1, source: 1, reason: 3 };
    /// Another protocol.
    pub const CONTEXT: Self = Self { result: 1, source: 1, reason: 2 };
    /// As many associations as there may be.
    pub const LIMIT: Self = Self { result: 2, source: 3, reason: 2 };

    /// Reads a body.
    #[must_use]
    pub fn decode(body: [u8; 4]) -> Self {
        let [_, result, source, reason] = body;
        Self { result, source, reason }
    }

    /// The unit.
    #[must_use]
    pub fn encode(self) -> [u8; 10] {
        [REJECT, 0, 0, 0, 0, 4, 0, self.result, self.source, self.reason]
    }

    /// Whether trying again may help without anybody changing a setting.
    #[must_use]
    pub fn is_for_now(self) -> bool {
        self.result == 2
    }

    /// In the standard's words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match (self.source, self.reason) {
            (1, 2) => "application context name not supported",
            (1, 3) => "calling AE title not recognized",
            (1, 7) => "called AE title not recognized",
            (2, 2) => "protocol version not supported",
            (3, 1) => "temporary congestion",
            (3, 2) => "local limit exceeded",
            _ => "no reason given",
        }
    }
}

/// A-RELEASE-RQ.
pub const RELEASE: [u8; 10] = [RELEASE_REQUEST, 0, 0, 0, 0, 4, 0, 0, 0, 0];
/// A-RELEASE-RP.
pub const RELEASED: [u8; 10] = [RELEASE_REPLY, 0, 0, 0, 0, 4, 0, 0, 0, 0];

/// A-ABORT by the service provider for this reason (PS3.8, table 9-26); `None` is by its user.
#[must_use]
pub fn abort(reason: Option<AbortReason>) -> [u8; 10] {
    let (source, reason) = reason.map_or((0, 0), |reason| (2, reason as u8));
    [ABORT, 0, 0, 0, 0, 4, 0, 0, source, reason]
}

/// PS3.8, table 9-26.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AbortReason {
    /// Not further explained.
    Unspecified = 0,
    /// Of no known type.
    UnrecognizedPdu = 1,
    /// Not now.
    UnexpectedPdu = 2,
    /// Contradicts itself or what was agreed.
    InvalidParameter = 6,
}

struct Fields<'a> {
    bytes: &'a [u8],
    part: &'static str,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], PduError> {
        let (taken, rest) =
            self.bytes.split_at_checked(length).ok_or(PduError::Form { part: self.part, what: "it ends early" })?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PduError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| PduError::Form { part: self.part, what: "it ends early" })
    }

    /// The next item: type, and fields of its value.
    fn item(&mut self, part: &'static str) -> Result<Option<(u8, Fields<'a>)>, PduError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let [kind, _, high, low] = self.array()?;
        let bytes = self.take(usize::from(u16::from_be_bytes([high, low])))?;
        Ok(Some((kind, Fields { bytes, part })))
    }

    fn uid(&self) -> Result<String, PduError> {
        let trimmed = self.bytes.trim_ascii_end();
        let trimmed = trimmed.strip_suffix(&[0]).unwrap_or(trimmed);
        let is_uid = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        if trimmed.is_empty() || trimmed.len() > UID_BYTES || !trimmed.iter().all(is_uid) {
            return Err(PduError::Form { part: self.part, what: "it is no UID" });
        }
        Ok(String::from_utf8_lossy(trimmed).into_owned())
    }
}

/// An AE title: printable ASCII, without the blanks around it (PS3.5, section 6.2).
fn title(bytes: &[u8], part: &'static str) -> Result<String, PduError> {
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() || !trimmed.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'\\') {
        return Err(PduError::Form { part, what: "it is no AE title" });
    }
    Ok(String::from_utf8_lossy(trimmed).into_owned())
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// [`PduError::Form`].
    pub fn decode(body: &[u8]) -> Result<Self, PduError> {
        decode(body, ITEM_CONTEXT, |fields| {
            let [id, ..] = fields.array::<4>()?;
            let mut abstract_syntax = None;
            let mut transfer_syntaxes = Vec::new();
            while let Some((kind, item)) = fields.item("a syntax")? {
                match kind {
                    ITEM_ABSTRACT if abstract_syntax.is_none() => abstract_syntax = Some(item.uid()?),
                    ITEM_TRANSFER if transfer_syntaxes.len() < MAX_SYNTAXES => transfer_syntaxes.push(item.uid()?),
                    _ => return Err(PduError::Form { part: "a presentation context", what: "it has a surplus item" }),
                }
            }
            let abstract_syntax = abstract_syntax
                .ok_or(PduError::Form { part: "a presentation context", what: "it has no abstract syntax" })?;
            if id % 2 == 0 || transfer_syntaxes.is_empty() {
                let what = if id % 2 == 0 { "its id is even" } else { "it has no transfer syntax" };
                return Err(PduError::Form { part: "a presentation context", what });
            }
            Ok(ProposedContext { id, abstract_syntax, transfer_syntaxes })
        })
    }

    /// The unit.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let context = |context: &ProposedContext| {
            let mut value = vec![context.id, 0, 0, 0];
            item(&mut value, ITEM_ABSTRACT, context.abstract_syntax.as_bytes());
            for syntax in &context.transfer_syntaxes {
                item(&mut value, ITEM_TRANSFER, syntax.as_bytes());
            }
            value
        };
        self.encode_as(REQUEST, ITEM_CONTEXT, context)
    }
}

impl Accept {
    /// Reads a body.
    ///
    /// # Errors
    /// [`PduError::Form`].
    pub fn decode(body: &[u8]) -> Result<Self, PduError> {
        decode(body, ITEM_CONTEXT_ANSWER, |fields| {
            let [id, _, result, _] = fields.array()?;
            let result = ContextResult::of(result);
            // Where a context is refused the item is not significant (PS3.8, section 9.3.3.2).
            let transfer_syntax = match (result, fields.item("a transfer syntax")?) {
                (ContextResult::Accepted, Some((ITEM_TRANSFER, item))) => item.uid()?,
                (ContextResult::Accepted, _) => {
                    return Err(PduError::Form { part: "a presentation context", what: "it has no transfer syntax" });
                }
                _ => String::new(),
            };
            Ok(ContextAnswer { id, result, transfer_syntax })
        })
    }

    /// The unit.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let context = |context: &ContextAnswer| {
            let mut value = vec![context.id, 0, context.result.code(), 0];
            item(&mut value, ITEM_TRANSFER, context.transfer_syntax.as_bytes());
            value
        };
        self.encode_as(ACCEPT, ITEM_CONTEXT_ANSWER, context)
    }
}

fn decode<C>(
    body: &[u8],
    context_item: u8,
    context: impl Fn(&mut Fields<'_>) -> Result<C, PduError>,
) -> Result<Associate<C>, PduError> {
    let mut fields = Fields { bytes: body, part: "an association" };
    let [_, version, _, _] = fields.array::<4>()?;
    if version & 1 == 0 {
        return Err(PduError::Form { part: "an association", what: "it is not of protocol version 1" });
    }
    let called = title(fields.take(AE_BYTES)?, "the called AE title")?;
    let calling = title(fields.take(AE_BYTES)?, "the calling AE title")?;
    fields.take(FIXED_BYTES - 4 - 2 * AE_BYTES)?;
    let mut associate = Associate { called, calling, contexts: Vec::new(), max_data: 0 };
    let mut has_application = false;
    while let Some((kind, mut item)) = fields.item("an item")? {
        match kind {
            ITEM_APPLICATION => {
                has_application = true;
                if item.uid()? != APPLICATION_CONTEXT {
                    return Err(PduError::Form { part: "the application context", what: "it is not DICOM's" });
                }
            }
            kind if kind == context_item => {
                if associate.contexts.len() == MAX_CONTEXTS {
                    return Err(PduError::Form { part: "an association", what: "it has more than 128 contexts" });
                }
                associate.contexts.push(context(&mut item)?);
            }
            ITEM_USER => {
                while let Some((kind, mut value)) = item.item("the user information")? {
                    if kind == ITEM_MAX_LENGTH {
                        associate.max_data = u32::from_be_bytes(value.array()?);
                    }
                }
            }
            // Whatever newer versions add can be passed over (PS3.8, section 9.3.1).
            _ => {}
        }
    }
    if has_application {
        return Ok(associate);
    }
    Err(PduError::Form { part: "an association", what: "it has no application context" })
}

impl<C> Associate<C> {
    fn encode_as(&self, kind: u8, context_item: u8, context: impl Fn(&C) -> Vec<u8>) -> Vec<u8> {
        let mut unit = vec![kind, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        for title in [&self.called, &self.calling] {
            let mut padded = [b' '; AE_BYTES];
            padded.iter_mut().zip(title.bytes()).for_each(|(to, from)| *to = from);
            unit.extend(padded);
        }
        unit.extend([0; 32]);
        item(&mut unit, ITEM_APPLICATION, APPLICATION_CONTEXT.as_bytes());
        for each in &self.contexts {
            item(&mut unit, context_item, &context(each));
        }
        let mut user = Vec::new();
        item(&mut user, ITEM_MAX_LENGTH, &self.max_data.to_be_bytes());
        item(&mut user, ITEM_CLASS, super::IMPLEMENTATION_CLASS.as_bytes());
        item(&mut user, ITEM_VERSION, super::IMPLEMENTATION_VERSION.as_bytes());
        item(&mut unit, ITEM_USER, &user);
        let length = u32::try_from(unit.len() - HEADER_BYTES).unwrap_or(u32::MAX);
        unit[2..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
        unit
    }
}

/// An item of a value that has less than 64 KiB: 128 transfer syntaxes of 64 bytes are far below.
fn item(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.extend([kind, 0]);
    out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(value);
}

/// A presentation data value: a fragment of a command or of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataValue {
    /// Presentation context.
    pub context: u8,
    /// Whether it is of a command.
    pub is_command: bool,
    /// Whether it is the last fragment.
    pub is_last: bool,
    /// Where the fragment is in the unit's body.
    pub fragment: Range<usize>,
}

impl DataValue {
    /// The value that begins at `at` in the body of a P-DATA-TF; none at its end.
    ///
    /// # Errors
    /// [`PduError::Form`].
    pub fn decode(body: &[u8], at: usize) -> Result<Option<Self>, PduError> {
        let rest = body.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let wrong = |what| PduError::Form { part: "a presentation data value", what };
        let &[a, b, c, d, context, control] = rest.first_chunk::<VALUE_HEADER_BYTES>().ok_or(wrong("it ends early"))?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let length = length.checked_sub(2).ok_or(wrong("it has no context"))?;
        if length > rest.len() - VALUE_HEADER_BYTES {
            return Err(wrong("it is longer than its unit"));
        }
        let start = at + VALUE_HEADER_BYTES;
        let (is_command, is_last) = (control & 1 != 0, control & 2 != 0);
        Ok(Some(Self { context, is_command, is_last, fragment: start..start + length }))
    }
}

/// The header of a P-DATA-TF of one value with a fragment of this length, and of the value.
#[must_use]
pub fn data_header(context: u8, is_command: bool, is_last: bool, fragment: u32) -> [u8; 12] {
    let [a, b, c, d] = fragment.saturating_add(6).to_be_bytes();
    let [e, f, g, h] = fragment.saturating_add(2).to_be_bytes();
    [DATA, 0, a, b, c, d, e, f, g, h, context, u8::from(is_command) | u8::from(is_last) << 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(unit: &[u8]) -> &[u8] {
        let header = Header::decode(*unit.first_chunk().unwrap(), 0).unwrap();
        assert_eq!(header.length as usize, unit.len() - HEADER_BYTES);
        &unit[HEADER_BYTES..]
    }

    fn request() -> Request {
        let context = |id: u8| ProposedContext {
            id,
            abstract_syntax: "1.2.840.10008.1.1".to_owned(),
            transfer_syntaxes: vec!["1.2.840.10008.1.2".to_owned(), "1.2.840.10008.1.2.1".to_owned()],
        };
        let contexts = vec![context(1), context(255)];
        Request { called: "CALLED".to_owned(), calling: "A B".to_owned(), contexts, max_data: 16_384 }
    }

    #[test]
    fn associations_come_back_as_they_were() {
        let request = request();
        assert_eq!(Request::decode(body(&request.encode())).unwrap(), request);
        let answer = |id, result, syntax: &str| ContextAnswer { id, result, transfer_syntax: syntax.to_owned() };
        let contexts = vec![
            answer(1, ContextResult::Accepted, "1.2.840.10008.1.2"),
            answer(3, ContextResult::TransferSyntaxesNotSupported, ""),
        ];
        let accept = Accept { called: "A".to_owned(), calling: "B".to_owned(), contexts, max_data: 0 };
        assert_eq!(Accept::decode(body(&accept.encode())).unwrap(), accept);
    }

    #[test]
    fn an_accepted_context_without_a_transfer_syntax_is_refused() {
        let answer = ContextAnswer { id: 1, result: ContextResult::Accepted, transfer_syntax: "1.2".to_owned() };
        let accept = Accept { called: "A".to_owned(), calling: "B".to_owned(), contexts: vec![answer], max_data: 0 };
        let mut unit = accept.encode();
        let at = unit.windows(7).position(|item| item == [ITEM_TRANSFER, 0, 0, 3, b'1', b'.', b'2']).unwrap();
        assert_eq!(Accept::decode(body(&unit)).unwrap(), accept);
        unit[at] = 0xc0;
        let refused = Accept::decode(body(&unit)).unwrap_err();
        assert_eq!(refused, PduError::Form { part: "a presentation context", what: "it has no transfer syntax" });
    }

    #[test]
    fn a_cut_association_is_an_error_wherever_it_is_cut() {
        let whole = request().encode();
        let body = body(&whole);
        for length in 0..body.len() {
            if let Ok(cut) = Request::decode(&body[..length]) {
                assert!(cut.contexts.len() < 2 || cut.max_data == 0, "cut at {length}");
            }
        }
    }

    #[test]
    fn lengths_are_refused_before_room_is_made() {
        let check = |kind: u8, length: u32, is_right: bool| {
            let [a, b, c, d] = length.to_be_bytes();
            assert_eq!(Header::decode([kind, 0, a, b, c, d], 16_384).is_ok(), is_right, "{kind} {length}");
        };
        check(1, MAX_ASSOCIATE_BYTES, true);
        check(1, MAX_ASSOCIATE_BYTES + 1, false);
        check(4, 16_384, true);
        check(4, 16_385, false);
        check(4, u32::MAX, false);
        check(5, 4, true);
        check(5, 0, false);
        check(7, 5, false);
        check(0, 0, false);
        check(8, 4, false);
    }

    #[test]
    fn contexts_that_cannot_be_are_refused() {
        let mut even = request();
        even.contexts[0].id = 2;
        assert!(Request::decode(body(&even.encode())).is_err());
        let mut none = request();
        none.contexts[0].transfer_syntaxes.clear();
        assert!(Request::decode(body(&none.encode())).is_err());
        let mut many = request();
        many.contexts = vec![many.contexts[0].clone(); MAX_CONTEXTS + 1];
        assert!(Request::decode(body(&many.encode())).is_err());
        many.contexts.pop();
        assert_eq!(Request::decode(body(&many.encode())).unwrap().contexts.len(), MAX_CONTEXTS);
    }

    #[test]
    fn data_values_stay_in_their_unit() {
        let header = data_header(3, false, true, 4);
        let unit = [&header[HEADER_BYTES..], b"abcd"].concat();
        let value = DataValue::decode(&unit, 0).unwrap().unwrap();
        assert_eq!(value, DataValue { context: 3, is_command: false, is_last: true, fragment: 6..10 });
        assert_eq!(DataValue::decode(&unit, 10), Ok(None));
        assert!(DataValue::decode(&unit[..9], 0).is_err());
        assert!(DataValue::decode(&[0, 0, 0, 1, 1, 1], 0).is_err());
        assert!(DataValue::decode(&[255, 255, 255, 255, 1, 1], 0).is_err());
        assert!(DataValue::decode(&[0, 0, 0], 0).is_err());
    }
}
