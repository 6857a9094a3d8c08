//! Finds the pixel element in a header that is still coming.

use super::Input;
use crate::attributes::{Stretch, uid};
use crate::element::{ByteOrder, ElementHeader, Encoding, Tag, Vr, VrEncoding};
use crate::syntax;

const PREAMBLE_BYTES: usize = 128;
const MAGIC: &[u8] = b"DICM";
/// Enough to tell encodings apart, and to read most element headers.
const SNIFFED_BYTES: usize = 8;
/// Sequences and items of undefined length inside each other.
const MAX_OPEN: usize = 64;
/// The first element of a data set without file header is in one of the groups up to here.
const MAX_FIRST_GROUP: u16 = 0x0028;
/// Longest value of that element, where no VR supports it.
const MAX_FIRST_VALUE_BYTES: u32 = 1 << 16;

/// Whether bytes may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    MayCome,
    Never,
}

/// What is known when nothing can be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet; when nothing more comes, all of it is the header.
    More,
    /// The pixel element.
    Pixels { element: ElementHeader, value_at: usize },
    /// Here begins a deflate stream.
    Deflated { at: usize },
    /// Nothing can be cut.
    Opaque { code: &'static str, offset: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Preamble,
    FileMeta,
    Encoding,
    DataSet,
}

/// A sequence or an item of undefined length, with the encoding of what is in it.
#[derive(Debug, Clone, Copy)]
enum Open {
    Sequence(Encoding),
    Item(Encoding),
}

#[derive(Debug)]
pub(super) struct Head {
    phase: Phase,
    /// Where the next element begins; behind what came, while a value is still coming.
    at: usize,
    meta_at: usize,
    data_set_at: Option<usize>,
    encoding: Encoding,
    transfer_syntax: Option<String>,
    has_magic: bool,
    open: Vec<Open>,
    findings: Vec<&'static str>,
}

impl Head {
    pub(super) fn new(input: Input) -> Self {
        let (phase, transfer_syntax) = match input {
            Input::File => (Phase::Preamble, None),
            Input::DataSet { transfer_syntax } => (Phase::Encoding, Some(transfer_syntax)),
        };
        Self {
            phase,
            at: 0,
            meta_at: 0,
            data_set_at: None,
            encoding: Encoding::ExplicitLittle,
            has_magic: transfer_syntax.is_some(),
            transfer_syntax,
            open: Vec::new(),
            findings: Vec::new(),
        }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(super) fn transfer_syntax(&self) -> Option<&str> {
        self.transfer_syntax.as_deref()
    }

    pub(super) fn take_findings(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.findings)
    }

    /// Where elements are, in which encoding.
    pub(super) fn stretches(&self, bytes: &[u8]) -> Vec<Stretch> {
        let data_set_at = self.data_set_at.unwrap_or(self.at).min(bytes.len());
        let mut stretches = Vec::new();
        if self.meta_at < data_set_at {
            stretches.push(Stretch { range: self.meta_at..data_set_at, encoding: Encoding::ExplicitLittle });
        }
        if self.phase == Phase::DataSet {
            stretches.push(Stretch { range: data_set_at..bytes.len(), encoding: self.encoding });
        }
        stretches
    }

    fn find(&mut self, finding: &'static str) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Goes as far as `bytes`, the object from its beginning, allow.
    pub(super) fn advance(&mut self, bytes: &[u8], more: More) -> Progress {
        if self.phase == Phase::Preamble {
            if bytes.len() < PREAMBLE_BYTES + MAGIC.len() && more == More::MayCome {
                return Progress::More;
            }
            self.preamble(bytes);
        }
        if self.phase == Phase::FileMeta && !self.file_meta(bytes) {
            let undefined = self.header(bytes, Encoding::ExplicitLittle).filter(ElementHeader::has_undefined_length);
            return match undefined {
                Some(_) => Progress::Opaque { code: "unparseable", offset: self.at as u64 },
                None => self.end(bytes, more),
            };
        }
        if self.phase == Phase::Encoding {
            match bytes.get(self.at..) {
                Some(rest) if rest.len() >= SNIFFED_BYTES => {
                    if let Some(progress) = self.choose_encoding(rest) {
                        return progress;
                    }
                }
                _ => return self.end(bytes, more),
            }
        }
        self.data_set(bytes).unwrap_or_else(|| self.end(bytes, more))
    }

    /// What it means when nothing more can be read.
    fn end(&mut self, bytes: &[u8], more: More) -> Progress {
        if more == More::MayCome {
            return Progress::More;
        }
        if !self.has_magic && self.phase != Phase::DataSet {
            let code = if bytes.is_empty() { "empty" } else { "not-dicom" };
            return Progress::Opaque { code, offset: 0 };
        }
        if self.at != bytes.len() {
            self.find("truncated");
        }
        if !self.open.is_empty() {
            self.find("missing-sequence-delimiter");
        }
        Progress::More
    }

    fn preamble(&mut self, bytes: &[u8]) {
        self.phase = Phase::FileMeta;
        self.has_magic = true;
        if bytes.get(PREAMBLE_BYTES..PREAMBLE_BYTES + MAGIC.len()) == Some(MAGIC) {
            self.at = PREAMBLE_BYTES + MAGIC.len();
        } else if bytes.starts_with(MAGIC) {
            self.at = MAGIC.len();
            self.find("no-preamble");
        } else {
            self.has_magic = false;
            self.find("no-file-header");
        }
        self.meta_at = self.at;
    }

    fn header(&self, bytes: &[u8], encoding: Encoding) -> Option<ElementHeader> {
        ElementHeader::read(bytes.get(self.at..)?, encoding)
    }

    /// Group 2 is explicit and little endian always (PS3.10, section 7.1). False while it has not ended.
    fn file_meta(&mut self, bytes: &[u8]) -> bool {
        while let Some(header) = self.header(bytes, Encoding::ExplicitLittle) {
            if header.tag.group() != 0x0002 {
                self.phase = Phase::Encoding;
                if self.at == self.meta_at {
                    self.find("no-file-meta");
                } else if self.transfer_syntax.is_none() {
                    self.find("no-transfer-syntax");
                }
                return true;
            }
            if header.has_undefined_length() {
                return false;
            }
            let value_at = self.at + header.header_bytes;
            let end = value_at.saturating_add(header.length as usize);
            let Some(value) = bytes.get(value_at..end) else {
                return false;
            };
            if header.tag == Tag::TRANSFER_SYNTAX_UID {
                self.transfer_syntax = uid(value);
            }
            // Group 2 is what says that it is DICOM where the magic is missing.
            self.has_magic = true;
            self.at = end;
        }
        false
    }

    /// From what the object says, unless its first element says otherwise.
    fn choose_encoding(&mut self, rest: &[u8]) -> Option<Progress> {
        let stated = self.transfer_syntax.as_deref().map(syntax::encoding);
        let vr = rest.get(4..6).and_then(|letters| Vr::from_letters([letters[0], letters[1]]));
        let is_explicit = vr.is_some_and(Vr::is_known);
        let (little, big) = (u16::from_le_bytes([rest[0], rest[1]]), u16::from_be_bytes([rest[0], rest[1]]));
        let plausible = |group: u16| group <= MAX_FIRST_GROUP && group.is_multiple_of(2);
        let deflated = self.transfer_syntax.as_deref().is_some_and(syntax::is_deflated);
        if deflated && !(is_explicit && plausible(little)) {
            return Some(Progress::Deflated { at: self.at });
        }
        let order = match stated {
            Some(encoding) => encoding.byte_order(),
            None if little > MAX_FIRST_GROUP && plausible(big) => ByteOrder::Big,
            None => ByteOrder::Little,
        };
        let vr_encoding = if is_explicit || stated.is_some_and(Encoding::is_explicit) && vr.is_some() {
            VrEncoding::Explicit
        } else {
            VrEncoding::Implicit
        };
        self.encoding = Encoding::new(vr_encoding, order);
        if !self.has_magic {
            let first = ElementHeader::read(rest, self.encoding);
            let small = first.is_some_and(|first| is_explicit || first.length <= MAX_FIRST_VALUE_BYTES);
            if !small || !plausible(if order == ByteOrder::Big { big } else { little }) {
                return Some(Progress::Opaque { code: "not-dicom", offset: self.at as u64 });
            }
        }
        if stated.is_some_and(|stated| stated != self.encoding) || deflated {
            self.find("transfer-syntax-contradicted");
        }
        self.phase = Phase::DataSet;
        self.data_set_at = Some(self.at);
        None
    }

    /// Goes from element to element; nothing when more bytes are needed.
    fn data_set(&mut self, bytes: &[u8]) -> Option<Progress> {
        loop {
            let encoding = match self.open.last() {
                None => self.encoding,
                Some(Open::Sequence(encoding) | Open::Item(encoding)) => *encoding,
            };
            let header = self.header(bytes, encoding)?;
            let value_at = self.at + header.header_bytes;
            match (self.open.last().copied(), header.tag) {
                (None, tag) if tag.is_pixels() => return Some(Progress::Pixels { element: header, value_at }),
                (None, tag) if tag.group() == 0xFFFE => {
                    self.find("stray-item");
                    self.at = value_at;
                }
                (Some(Open::Sequence(inside)), Tag::ITEM) => {
                    self.at = value_at;
                    if header.has_undefined_length() {
                        self.open.push(Open::Item(inside));
                    } else {
                        self.at = value_at.saturating_add(header.length as usize);
                    }
                }
                (Some(Open::Sequence(_)), Tag::SEQUENCE_DELIMITER) | (Some(Open::Item(_)), Tag::ITEM_DELIMITER) => {
                    self.open.pop();
                    self.at = value_at;
                }
                // Neither an item nor the end: what is open ended without saying so.
                (Some(Open::Sequence(_)), _) | (Some(Open::Item(_)), Tag::SEQUENCE_DELIMITER | Tag::ITEM) => {
                    self.find("missing-sequence-delimiter");
                    self.open.pop();
                }
                (None | Some(Open::Item(_)), _) => self.skip(&header, encoding, value_at),
            }
            if self.open.len() > MAX_OPEN {
                return Some(Progress::Opaque { code: "too-deep", offset: self.at as u64 });
            }
        }
    }

    fn skip(&mut self, header: &ElementHeader, encoding: Encoding, value_at: usize) {
        if header.has_undefined_length() {
            let inside = if header.vr == Vr::UN { encoding.inside_unknown() } else { encoding };
            self.open.push(Open::Sequence(inside));
            self.at = value_at;
        } else {
            self.at = value_at.saturating_add(header.length as usize);
        }
    }
}
