//! Takes objects apart at their top-level pixel element, in pieces of any size, without changing a byte.
//!
//! [`Cutter`] finds the cut: header ‖ blob ‖ tail is the file, always. [`Splitter`] makes chunks of the blob and the
//! metadata record of everything else. Memory: a header of at most [`SplitLimits::header_bytes`], one chunk, a tail of at
//! most [`SplitLimits::tail_bytes`], 1 MiB of fragment lengths and as much of an offset table, and with a deflated data
//! set [`MAX_INFLATED_BYTES`]; whatever the object claims.

mod chunks;
mod frames;
mod head;
mod inflate;
mod items;
mod split;

pub use inflate::MAX_INFLATED_BYTES;
pub use split::{Chunk, Splitter};

use crate::attributes::{self, Attributes, Identity, Stretch};
use crate::element::{ElementHeader, Tag};
use crate::record::{self, ChunkRef, Grouping, Metadata, ObjectId, Opaque, Pixels};
use bytes::Bytes;
use head::{Head, Progress};
use inflate::Inflater;
use items::{Fed, Items};
use lumenbus_sha256::Sha256;

/// How much of a piece is looked at while the header's end is not known.
const HEAD_STEP_BYTES: usize = 64 << 10;

/// Where objects come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file with preamble and group 2, or one that should have them.
    File,
    /// A data set alone, in a transfer syntax that was negotiated (C-STORE) or stated (STOW-RS).
    DataSet {
        /// Its UID.
        transfer_syntax: String,
    },
}

/// How much of an object may be in memory at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitLimits {
    /// Longest header; an object with a longer one is opaque. At most [`record::MAX_HEADER_BYTES`].
    pub header_bytes: usize,
    /// Longest tail; a longer one is part of the blob. At most [`record::MAX_TAIL_BYTES`].
    pub tail_bytes: usize,
    /// Longest chunk; at most [`record::MAX_VALUE_BYTES`].
    pub chunk_bytes: usize,
}

impl Default for SplitLimits {
    fn default() -> Self {
        Self { header_bytes: 16 << 20, tail_bytes: 1 << 20, chunk_bytes: record::MAX_VALUE_BYTES }
    }
}

impl SplitLimits {
    fn checked(self) -> Self {
        Self {
            header_bytes: self.header_bytes.min(record::MAX_HEADER_BYTES),
            tail_bytes: self.tail_bytes.min(record::MAX_TAIL_BYTES),
            chunk_bytes: self.chunk_bytes.clamp(1, record::MAX_VALUE_BYTES),
        }
    }
}

/// What a [`Cutter`] says of the blob, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The header has come; said once, before anything else, of every object.
    Head {
        /// What the object calls itself. [`Identity::sop_instance`] is final.
        identity: &'a Identity,
        /// Stated or negotiated.
        transfer_syntax: Option<&'a str>,
    },
    /// The blob begins, and is frames of this many bytes each.
    Frames {
        /// Of one frame.
        length: u64,
    },
    /// Here begins a unit that is better not cut: a fragment with its item header.
    Unit {
        /// Of the unit.
        length: u64,
    },
    /// The next bytes.
    Blob(&'a [u8]),
}

/// What is known of a finished object, but for where its blob went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Every byte before the blob.
    pub header: Bytes,
    /// Every byte behind the blob.
    pub tail: Bytes,
    /// Bytes between them.
    pub blob_length: u64,
    /// Bytes of the file.
    pub file_length: u64,
    /// SHA-256 of the file.
    pub file_sha256: [u8; 32],
    /// Why nothing was cut.
    pub opaque: Option<Opaque>,
    /// Stated or negotiated.
    pub transfer_syntax: Option<String>,
    /// What the object calls itself.
    pub identity: Identity,
    /// The pixel element.
    pub pixels: Option<Pixels>,
    /// Attributes in front of the pixels.
    pub attributes: Attributes,
    /// Irregularities as stable codes.
    pub findings: Vec<String>,
}

impl Cut {
    /// The record of this object, with its chunks.
    #[must_use]
    pub fn into_metadata(self, object_id: ObjectId, chunks: Vec<ChunkRef>) -> Metadata {
        Metadata {
            object_id,
            file_length: self.file_length,
            file_sha256: self.file_sha256,
            header: self.header,
            tail: self.tail,
            chunks,
            opaque: self.opaque,
            transfer_syntax: self.transfer_syntax,
            identity: self.identity,
            pixels: self.pixels,
            attributes: self.attributes,
            findings: self.findings,
        }
    }
}

/// Finds the cut while the object comes.
#[derive(Debug)]
pub struct Cutter {
    limits: SplitLimits,
    state: State,
    file_sha256: Sha256,
    pixel_sha256: Sha256,
    pixel_length: u64,
    pixel_element: Option<ElementHeader>,
    items: Option<Items>,
    inflater: Option<Inflater>,
    /// What is known so far.
    cut: Cut,
    findings: Vec<&'static str>,
}

#[derive(Debug)]
enum State {
    /// The header, as far as it came.
    Head(Head, Vec<u8>),
    /// So many bytes of native pixels are still to come.
    Native(u64),
    Items,
    Tail(Vec<u8>),
    /// Everything else is blob.
    Rest,
}

impl Cutter {
    /// For one object.
    #[must_use]
    pub fn new(input: Input, limits: SplitLimits) -> Self {
        let cut = Cut {
            header: Bytes::new(),
            tail: Bytes::new(),
            blob_length: 0,
            file_length: 0,
            file_sha256: [0; 32],
            opaque: None,
            transfer_syntax: None,
            identity: Identity::default(),
            pixels: None,
            attributes: Attributes::default(),
            findings: Vec::new(),
        };
        Self {
            limits: limits.checked(),
            state: State::Head(Head::new(input), Vec::new()),
            file_sha256: Sha256::new(),
            pixel_sha256: Sha256::new(),
            pixel_length: 0,
            pixel_element: None,
            items: None,
            inflater: None,
            cut,
            findings: Vec::new(),
        }
    }

    /// Takes the next bytes of the object.
    ///
    /// # Errors
    /// What `sink` returns; the cutter cannot be used any more then.
    pub fn push<E>(&mut self, piece: &[u8], sink: &mut impl FnMut(Part<'_>) -> Result<(), E>) -> Result<(), E> {
        self.cut.file_length += piece.len() as u64;
        self.feed(piece, true, sink)
    }

    /// The object is complete.
    ///
    /// # Errors
    /// What `sink` returns.
    pub fn finish<E>(mut self, sink: &mut impl FnMut(Part<'_>) -> Result<(), E>) -> Result<Cut, E> {
        if let State::Head(head, held) = &mut self.state {
            let progress = head.advance(held, head::More::Never);
            self.end_head(progress, sink)?;
        }
        // A fragment's header that the file's end cut off.
        let held = self.items.as_ref().map(|items| items.held().to_vec()).unwrap_or_default();
        match std::mem::replace(&mut self.state, State::Rest) {
            State::Items => {
                self.find("missing-sequence-delimiter");
                self.cut.tail = Bytes::from(held);
            }
            State::Tail(tail) => self.cut.tail = Bytes::from(tail),
            State::Native(_) => self.find("truncated"),
            State::Head(..) | State::Rest => {}
        }
        self.cut.file_sha256 = std::mem::take(&mut self.file_sha256).finalize();
        self.inflated();
        self.cut.pixels = self.pixels();
        self.cut.findings = self.findings.iter().map(|&finding| finding.to_owned()).collect();
        Ok(self.cut)
    }

    fn find(&mut self, finding: &'static str) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// What was held back comes a second time: it is in the file's hash, and not `new`.
    fn feed<E>(
        &mut self,
        mut bytes: &[u8],
        is_new: bool,
        sink: &mut impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let mut is_hashed = !is_new;
            let taken = match &mut self.state {
                State::Head(..) => self.feed_head(bytes, sink)?,
                State::Native(left) => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Tail(Vec::new());
                    }
                    self.pixel_blob(&bytes[..taken], is_new, sink)?;
                    is_hashed = true;
                    taken
                }
                State::Items => {
                    let taken;
                    (taken, is_hashed) = self.feed_items(bytes, is_new, sink)?;
                    taken
                }
                State::Tail(tail) if tail.len() + bytes.len() <= self.limits.tail_bytes => {
                    tail.extend_from_slice(bytes);
                    bytes.len()
                }
                State::Tail(tail) => {
                    let tail = std::mem::take(tail);
                    self.state = State::Rest;
                    self.find("tail-in-blob");
                    self.blob(&tail, sink)?;
                    0
                }
                State::Rest => {
                    self.blob(bytes, sink)?;
                    bytes.len()
                }
            };
            if !is_hashed {
                self.file_sha256.update(&bytes[..taken]);
            }
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn blob<E>(&mut self, bytes: &[u8], sink: &mut impl FnMut(Part<'_>) -> Result<(), E>) -> Result<(), E> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.cut.blob_length += bytes.len() as u64;
        if let Some(inflater) = &mut self.inflater {
            inflater.push(bytes);
        }
        sink(Part::Blob(bytes))
    }

    /// New bytes go into the file's hash as well.
    fn pixel_blob<E>(
        &mut self,
        bytes: &[u8],
        is_new: bool,
        sink: &mut impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if is_new {
            self.file_sha256.update_both(&mut self.pixel_sha256, bytes);
        } else {
            self.pixel_sha256.update(bytes);
        }
        self.pixel_length += bytes.len() as u64;
        self.blob(bytes, sink)
    }

    /// How many bytes were taken, and whether they are in the file's hash.
    fn feed_items<E>(
        &mut self,
        bytes: &[u8],
        is_new: bool,
        sink: &mut impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(usize, bool), E> {
        let Some(mut items) = self.items.take() else { return Ok((0, !is_new)) };
        let (taken, fed) = items.feed(bytes);
        let mut is_hashed = !is_new;
        match fed {
            Fed::Held => {}
            Fed::Value => {
                self.pixel_blob(&bytes[..taken], is_new, sink)?;
                is_hashed = true;
            }
            Fed::Item { length } => {
                sink(Part::Unit { length })?;
                self.pixel_blob(items.held(), false, sink)?;
                items.release();
            }
            Fed::End { finding } => {
                self.findings.extend(finding);
                self.state = State::Tail(Vec::new());
                let held = items.held().to_vec();
                items.release();
                self.items = Some(items);
                self.feed(&held, false, sink)?;
                return Ok((taken, is_hashed));
            }
        }
        self.items = Some(items);
        Ok((taken, is_hashed))
    }

    fn feed_head<E>(&mut self, bytes: &[u8], sink: &mut impl FnMut(Part<'_>) -> Result<(), E>) -> Result<usize, E> {
        let State::Head(head, held) = &mut self.state else { return Ok(0) };
        let taken = bytes.len().min(HEAD_STEP_BYTES);
        grow(held, taken, self.limits.header_bytes + 2 * HEAD_STEP_BYTES);
        held.extend_from_slice(&bytes[..taken]);
        let progress = head.advance(held, head::More::MayCome);
        let limit = self.limits.header_bytes;
        let too_large = head.position() > limit || progress == Progress::More && held.len() > limit;
        let progress = match progress {
            Progress::More if !too_large => return Ok(taken),
            Progress::Opaque { .. } => progress,
            _ if too_large => Progress::Opaque { code: "header-too-large", offset: head.position() as u64 },
            other => other,
        };
        self.end_head(progress, sink)?;
        Ok(taken)
    }

    /// The header's end is known: what was held behind it goes on to the next state.
    fn end_head<E>(&mut self, progress: Progress, sink: &mut impl FnMut(Part<'_>) -> Result<(), E>) -> Result<(), E> {
        let State::Head(mut head, mut held) = std::mem::replace(&mut self.state, State::Rest) else { return Ok(()) };
        self.findings.append(&mut head.take_findings());
        let stretches = head.stretches(&held);
        self.cut.attributes = attributes::extract(&held, &stretches);
        self.cut.identity = self.cut.attributes.identity();
        self.cut.transfer_syntax = head.transfer_syntax().map(str::to_owned);
        let (identity, transfer_syntax) = (&self.cut.identity, self.cut.transfer_syntax.as_deref());
        sink(Part::Head { identity, transfer_syntax })?;
        let behind = match progress {
            Progress::Opaque { code, offset } => {
                self.cut.opaque = Some(Opaque { code: code.to_owned(), offset });
                self.cut.attributes.complete = false;
                return self.blob(&held, sink);
            }
            Progress::More => held.split_off(held.len()),
            Progress::Deflated { at } => {
                self.inflater = Some(Inflater::new());
                held.split_off(at)
            }
            Progress::Pixels { element, value_at } => {
                let behind = held.split_off(value_at);
                self.begin_pixels(element, &head, sink)?;
                behind
            }
        };
        self.cut.header = Bytes::from(held);
        self.feed(&behind, false, sink)
    }

    fn begin_pixels<E>(
        &mut self,
        element: ElementHeader,
        head: &Head,
        sink: &mut impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pixel_element = Some(element);
        if element.has_undefined_length() {
            self.items = Some(Items::new(head.encoding().byte_order()));
            self.state = State::Items;
            return Ok(());
        }
        let length = u64::from(element.length);
        self.state = if length == 0 { State::Tail(Vec::new()) } else { State::Native(length) };
        match frames::native_frame_bytes(&self.cut.attributes, length) {
            Some(length) => sink(Part::Frames { length }),
            None => Ok(()),
        }
    }

    /// The attributes of a deflated data set.
    fn inflated(&mut self) {
        let Some(inflater) = self.inflater.take() else { return };
        let (data_set, whole) = inflater.finish();
        let stretch = Stretch { range: 0..data_set.len(), encoding: crate::element::Encoding::ExplicitLittle };
        let mut attributes = attributes::extract(&data_set, &[stretch]);
        attributes.inflated = true;
        if !whole && attributes.list.is_empty() {
            self.cut.attributes.complete = false;
            self.find("not-inflated");
            return;
        }
        let identity = attributes.identity();
        // The key of the chunks that went already is of the file meta information.
        let sop_instance = self.cut.identity.sop_instance.take();
        self.cut.identity = Identity { sop_instance, ..identity };
        self.cut.attributes = attributes;
    }

    fn pixels(&mut self) -> Option<Pixels> {
        let element = self.pixel_element?;
        let frames = self.cut.attributes.integer(Tag::NUMBER_OF_FRAMES).unwrap_or(1);
        let mut pixels = Pixels {
            tag: element.tag,
            vr: element.vr,
            offset: self.cut.header.len() as u64,
            length: self.pixel_length,
            declared_length: (!element.has_undefined_length()).then_some(element.length),
            sha256: std::mem::take(&mut self.pixel_sha256).finalize(),
            frames,
            grouping: Grouping::Native(None),
            offset_table_length: None,
            fragment_lengths: Vec::new(),
            fragments: 0,
        };
        if let Some(items) = self.items.take() {
            if items.is_cut_short() {
                self.find("truncated");
            }
            let table = frames::extended_offsets(&self.cut.attributes, &self.cut.header);
            pixels.grouping = frames::group(&items, frames, table.as_deref());
            pixels.offset_table_length = Some(items.table_length());
            pixels.fragments = items.count();
            pixels.fragment_lengths = items.into_lengths();
        } else if self.pixel_length == u64::from(element.length) {
            pixels.grouping = Grouping::Native(frames::native_frame_bytes(&self.cut.attributes, self.pixel_length));
        }
        Some(pixels)
    }
}

/// Doubles, but never beyond the limit, and from half of it at once: a header near it would else take twice its room.
fn grow(held: &mut Vec<u8>, more: usize, limit: usize) {
    let needed = held.len() + more;
    if needed > held.capacity() {
        let doubled = held.capacity() * 2;
        let capacity = needed.max(if doubled > limit / 2 { limit } else { doubled });
        held.reserve_exact(capacity - held.len());
    }
}
