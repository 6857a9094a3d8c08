//! JPEG pictures in `multipart/x-mixed-replace` (RFC 2046, section 5.1), as cameras really send it.
//!
//! Where a picture ends is told by its own markers, never by `Content-Length`, which is often missing and sometimes wrong;
//! so a picture is whole with its last byte, and not only when the next boundary comes.

use crate::jpeg::{MarkerWalk, Picture, Scan};
use bytes::{Buf, Bytes, BytesMut};
use lumenbus_frame::Dimensions;

/// Largest picture.
pub(super) const MAX_PICTURE_BYTES: usize = 32 * 1024 * 1024;
/// Longest line of a part's head.
const MAX_LINE_BYTES: usize = 1024;
/// Longest boundary, as the standard has it.
const MAX_BOUNDARY_BYTES: usize = 70;
/// Most lines of a part's head.
const MAX_LINES: usize = 64;
/// So much without a boundary is told as damage.
const MAX_SKIPPED_BYTES: usize = 1 << 20;
/// So often bytes that were no picture are looked through again for one that begins among them.
const MAX_RETRIES: u32 = 3;
/// What every JPEG begins with.
const START: [u8; 3] = [0xff, 0xd8, 0xff];
/// What was before a boundary may have so many dashes in front of it.
const MAX_DASHES: usize = 64;

/// What parts hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MultipartOutput {
    /// A whole JPEG file; Huffman tables that are missing were put in.
    Picture {
        /// The file.
        bytes: Bytes,
        /// Its size.
        dimensions: Dimensions,
        /// `X-Timestamp` of its part, in Unix nanoseconds; not checked.
        stated_nanos: Option<i64>,
    },
    /// A part that holds no picture that could be used.
    Damage {
        /// Why not.
        what: &'static str,
    },
}

/// Takes a body apart as it comes; holds at most one picture of 32 MiB, and what was pushed last.
///
/// Understood beside what the standard says: boundaries with more or fewer dashes than announced, or not announced at all,
/// or right behind a picture; lines that end in LF; heads that are missing. Parts of other types are skipped. Damage
/// costs its part only.
#[derive(Debug)]
pub struct MultipartReader {
    /// Without dashes in front; `None` until the first one is seen.
    boundary: Option<Vec<u8>>,
    buffer: BytesMut,
    /// Of the buffer's first byte in the body.
    offset: u64,
    place: Place,
    /// How far defects were noticed, and how often before that.
    defects_to: u64,
    retries: u32,
}

#[derive(Debug)]
enum Place {
    /// In front of a boundary, behind so many bytes without one.
    Between {
        skipped: usize,
    },
    Head(Head),
    Picture {
        walk: MarkerWalk,
        stated_nanos: Option<i64>,
    },
}

#[derive(Debug, Default)]
struct Head {
    lines: usize,
    is_other: bool,
    stated_nanos: Option<i64>,
}

/// What one look at the buffer came to.
enum Step {
    /// Nothing can be said before more bytes come.
    More,
    Again,
    Output(MultipartOutput),
}

const fn damage(what: &'static str) -> Step {
    Step::Output(MultipartOutput::Damage { what })
}

impl MultipartReader {
    /// `boundary` is the parameter of the body's type; without one, the first line that begins with dashes is it.
    #[must_use]
    pub fn new(boundary: Option<&str>) -> Self {
        let boundary = boundary.and_then(|boundary| core(boundary.as_bytes()));
        let place = Place::Between { skipped: 0 };
        Self { boundary, buffer: BytesMut::new(), offset: 0, place, defects_to: 0, retries: 0 }
    }

    fn discard(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
    }

    /// Takes the next bytes; [`MultipartReader::next_output`] is to be asked before more are pushed.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next picture or damage; `None` until more bytes are pushed.
    pub fn next_output(&mut self) -> Option<MultipartOutput> {
        loop {
            let step = match &mut self.place {
                Place::Between { .. } => self.between(),
                Place::Head(_) => self.head(),
                Place::Picture { .. } => self.picture(),
            };
            match step {
                Step::More => return None,
                Step::Again => {}
                Step::Output(output) => return Some(output),
            }
        }
    }

    fn between(&mut self) -> Step {
        let Some(boundary) = &self.boundary else { return self.learn() };
        let is_fresh = matches!(self.place, Place::Between { skipped: 0 });
        match find(&self.buffer, boundary, is_fresh) {
            Found::At { end } => {
                self.discard(end);
                self.place = Place::Head(Head::default());
                Step::Again
            }
            Found::NotBefore(start) => self.skip(start),
        }
    }

    /// The first line with dashes is a boundary.
    fn learn(&mut self) -> Step {
        self.discard_blank();
        let Some(line) = line(&self.buffer) else {
            // A line without end is none.
            let excess = if self.buffer.len() > MAX_LINE_BYTES { self.buffer.len() } else { 0 };
            return self.skip(excess);
        };
        let (end, text) = (line.end, trim(&self.buffer[..line.end]));
        self.boundary = if text.starts_with(b"--") { core(text) } else { None };
        if self.boundary.is_none() {
            return self.skip(end);
        }
        self.discard(end);
        self.place = Place::Head(Head::default());
        Step::Again
    }

    /// Leaves out bytes in front of a boundary; those at the beginning may be padding behind the picture before.
    fn skip(&mut self, bytes: usize) -> Step {
        self.discard(bytes);
        let Place::Between { skipped } = &mut self.place else { return Step::Again };
        *skipped += bytes;
        if *skipped > MAX_SKIPPED_BYTES {
            *skipped = 0;
            return damage("data without the boundary that parts must have");
        }
        if bytes == 0 || self.boundary.is_some() { Step::More } else { Step::Again }
    }

    fn head(&mut self) -> Step {
        let Place::Head(head) = &mut self.place else { return Step::Again };
        if self.buffer.starts_with(&START[..2]) {
            return self.begin_picture();
        }
        let Some(line) = line(&self.buffer) else {
            return if self.buffer.len() > MAX_LINE_BYTES {
                self.give_up("a part whose head has no end")
            } else {
                Step::More
            };
        };
        self.offset += line.end as u64;
        let bytes = self.buffer.split_to(line.end);
        let text = trim(&bytes);
        let is_boundary =
            self.boundary.as_ref().is_some_and(|boundary| matches!(find(&bytes, boundary, true), Found::At { .. }));
        match text {
            // Of an empty part.
            _ if is_boundary => *head = Head::default(),
            // Some send an empty line in front of the head.
            [] if head.lines == 0 => {}
            [] => return self.begin_picture(),
            text => {
                head.read(text);
                if head.lines > MAX_LINES {
                    return self.give_up("a part whose head has no end");
                }
            }
        }
        Step::Again
    }

    fn begin_picture(&mut self) -> Step {
        let Place::Head(head) = &self.place else { return Step::Again };
        self.place = if head.is_other {
            Place::Between { skipped: 0 }
        } else {
            Place::Picture { walk: MarkerWalk::default(), stated_nanos: head.stated_nanos }
        };
        Step::Again
    }

    fn picture(&mut self) -> Step {
        self.discard_blank();
        let Place::Picture { walk, stated_nanos } = &mut self.place else { return Step::Again };
        if self.buffer.len() < START.len() && START.starts_with(&self.buffer) {
            return Step::More;
        }
        if !self.buffer.starts_with(&START) {
            return self.give_up("a part that is no JPEG");
        }
        match walk.advance(&self.buffer) {
            Scan::More if self.buffer.len() <= MAX_PICTURE_BYTES => Step::More,
            Scan::More => {
                self.offset += self.buffer.len() as u64;
                self.buffer = BytesMut::new();
                self.give_up("a picture of more than 32 MiB")
            }
            Scan::Bad(defect) => {
                self.leave_defect(defect.at.clamp(1, self.buffer.len()));
                self.give_up(defect.what)
            }
            Scan::End(end) => {
                // A slice of the buffer would keep all of it alive, however small the picture.
                let Picture { bytes, dimensions } = walk.picture(Bytes::copy_from_slice(&self.buffer[..end]));
                let stated_nanos = *stated_nanos;
                self.place = Place::Between { skipped: 0 };
                self.discard(end);
                Step::Output(MultipartOutput::Picture { bytes, dimensions, stated_nanos })
            }
        }
    }

    /// The next part may begin before the defect was noticed. But no bytes are walked through again for ever.
    fn leave_defect(&mut self, at: usize) {
        if self.offset >= self.defects_to {
            self.retries = 0;
        }
        self.defects_to = self.defects_to.max(self.offset + at as u64);
        if self.retries < MAX_RETRIES {
            self.retries += 1;
        } else {
            self.discard(at);
        }
    }

    fn discard_blank(&mut self) {
        let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.discard(blank);
    }

    fn give_up(&mut self, what: &'static str) -> Step {
        self.place = Place::Between { skipped: 0 };
        damage(what)
    }
}

impl Head {
    /// A line that is no field is left out.
    fn read(&mut self, line: &[u8]) {
        self.lines += 1;
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else { return };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("content-type") {
            self.is_other = !is_jpeg(value);
        } else if name.eq_ignore_ascii_case("x-timestamp") {
            self.stated_nanos = seconds(value);
        }
    }
}

/// Whether this type is that of JPEG files; many names are in use, and none is wrong enough to leave a picture out.
pub(super) fn is_jpeg(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "image/jpeg" | "image/jpg" | "image/pjpeg" | "application/octet-stream" | "")
}

/// Unix nanoseconds of seconds such as `1750000000.040000`.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(digits.parse().ok()?)
}

/// A boundary without the dashes in front of it and blanks behind it; `None` when nothing is left, or too much.
fn core(boundary: &[u8]) -> Option<Vec<u8>> {
    let dashes = boundary.iter().take_while(|&&byte| byte == b'-').count();
    let core = trim(&boundary[dashes..]);
    (!core.is_empty() && core.len() <= MAX_BOUNDARY_BYTES).then(|| core.to_vec())
}

/// The first line with its end.
fn line(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let end = bytes.iter().take(MAX_LINE_BYTES).position(|&byte| byte == b'\n')?;
    Some(0..end + 1)
}

fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

enum Found {
    /// A boundary's line, up to this.
    At { end: usize },
    /// None begins before the byte behind this one.
    NotBefore(usize),
}

/// Looks for a line that is the boundary: dashes, the boundary, and perhaps the dashes of the last one.
///
/// It may follow a picture without a line's end between them; then it needs its two dashes. `is_line` says whether a line
/// begins with the bytes.
fn find(bytes: &[u8], boundary: &[u8], is_line: bool) -> Found {
    let mut from = 0;
    while let Some(found) = bytes[from..].windows(boundary.len()).position(|window| window == boundary) {
        let (at, behind) = (from + found, from + found + boundary.len());
        let dashes = bytes[..at].iter().rev().take_while(|&&byte| byte == b'-').count();
        let start = at - dashes;
        let begins_line = if start == 0 { is_line } else { bytes[start - 1] == b'\n' };
        if begins_line || dashes >= 2 {
            // No further than the line can be a boundary's: a short one may be found at every byte.
            let rest = &bytes[behind..];
            let last = rest.iter().take(2).take_while(|&&byte| byte == b'-').count();
            let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\r' | 0x0c);
            let end = last + rest[last..].iter().take(MAX_LINE_BYTES).take_while(blank).count();
            match rest.get(end) {
                Some(b'\n') if last != 1 => return Found::At { end: behind + end + 1 },
                // A line that was cut off, as that of one that is looked at by itself.
                None if end < 8 => return Found::NotBefore(start.saturating_sub(1)),
                _ => {}
            }
        }
        from = at + 1;
    }
    Found::NotBefore(bytes.len().saturating_sub(boundary.len() + MAX_DASHES + 1))
}

#[cfg(test)]
mod tests;
