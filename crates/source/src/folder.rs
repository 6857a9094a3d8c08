//! Folders of still pictures: each file one frame, as it is.

use crate::input::io_error;
use crate::item::{due, ticks};
use crate::{ReadMeter, Source, SourceError, SourceItem, SourceOptions, image};
use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Clock, Codec, Dimensions, EncodedFrame, FrameRate, StreamParameters};
use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most files that are listed.
const MAX_FILES: usize = 1_000_000;
/// Largest single picture.
const MAX_PICTURE_BYTES: u64 = 256 * 1024 * 1024;
/// Extensions whose files are expected to be pictures.
const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "jp2", "j2k", "jpc", "j2c", "jpf"];

/// Gives picture files in natural order (`img2` before `img10`).
///
/// A broken picture is an item of its own and the rest goes on. Files that neither look like a picture nor have a
/// picture's extension are left out silently.
pub struct FolderSource {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    files: std::vec::IntoIter<PathBuf>,
    rate: FrameRate,
    parameters: Arc<StreamParameters>,
    index: u64,
    meter: Option<ReadMeter>,
}

impl FolderSource {
    /// The pictures of a folder, not of folders inside it.
    pub fn folder(path: &Path, options: &SourceOptions) -> Result<Self, SourceError> {
        Self::open(path, |_| true, Arc::from(path.display().to_string()), options)
    }

    /// The pictures of `folder` whose names match `pattern`, in which `*` is any text and `?` any character.
    pub fn matching(folder: &Path, pattern: &str, options: &SourceOptions) -> Result<Self, SourceError> {
        let name = Arc::from(folder.join(pattern).display().to_string());
        Self::open(folder, |file| matches(pattern, file), name, options)
    }

    /// One picture file.
    pub fn single(path: &Path, options: &SourceOptions) -> Result<Self, SourceError> {
        Self::new(Arc::from(path.display().to_string()), vec![path.to_owned()], options)
    }

    fn open(
        path: &Path,
        wanted: impl Fn(&str) -> bool,
        name: Arc<str>,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let failed = |source| io_error(&name, "list", source);
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_wanted = entry.file_name().to_str().is_some_and(&wanted);
            // Follows links, as people expect of a folder of pictures.
            if is_wanted && entry.path().is_file() {
                files.push(entry.path());
            }
            if files.len() > MAX_FILES {
                let (limit, bytes) = (MAX_FILES as u64, files.len() as u64);
                return Err(SourceError::TooLarge { name, what: "the list of files", offset: 0, bytes, limit });
            }
        }
        files.sort_by(|a, b| natural_order(&file_name(a), &file_name(b)));
        Self::new(name, files, options)
    }

    fn new(name: Arc<str>, files: Vec<PathBuf>, options: &SourceOptions) -> Result<Self, SourceError> {
        let first = first_good(&files);
        let (codec, dimensions) = match first {
            Ok(found) => found,
            Err(broken) => return Err(SourceError::NoPictures { name, broken }),
        };
        let rate = options.frame_rate.unwrap_or(crate::DEFAULT_RATE);
        let mut parameters = StreamParameters::new(codec, dimensions);
        parameters.frame_rate = Some(rate);
        if let Some(meter) = &options.meter {
            meter.begin(files.len() as u64);
        }
        Ok(Self {
            name,
            clock: options.clock.clone(),
            files: files.into_iter(),
            rate,
            parameters: Arc::new(parameters),
            index: 0,
            meter: options.meter.clone(),
        })
    }

    fn give(&mut self, still: image::Still) -> SourceItem {
        if (self.parameters.codec, self.parameters.dimensions) != (still.codec, still.dimensions) {
            let mut parameters = StreamParameters::new(still.codec, still.dimensions);
            parameters.frame_rate = Some(self.rate);
            self.parameters = Arc::new(parameters);
        }
        let capture = CaptureTime::arrival(self.clock.unix_nanos());
        let frame = EncodedFrame::new(still.codec, capture, still.bytes)
            .with_pts(ticks(self.index, self.rate))
            .with_parameters(self.parameters.clone());
        let media_time = due(self.index, self.rate);
        self.index += 1;
        SourceItem::Encoded { frame, media_time }
    }
}

impl Source for FolderSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        while let Some(path) = self.files.next() {
            if let Some(meter) = &self.meter {
                meter.add(1);
            }
            match load(&path) {
                Ok(still) => return Ok(Some(self.give(still))),
                Err(error) if is_expected(&path, &error) => {
                    self.index += 1;
                    return Ok(Some(SourceItem::Damaged { error, frames: Some(1) }));
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }
}

/// The first file that passes, or how many were broken.
fn first_good(files: &[PathBuf]) -> Result<(Codec, Dimensions), u64> {
    let mut broken = 0;
    for path in files {
        match load(path) {
            Ok(still) => return Ok((still.codec, still.dimensions)),
            Err(error) => broken += u64::from(is_expected(path, &error)),
        }
    }
    Err(broken)
}

/// Whether a file should have been a picture: by its extension, or because it begins like one.
fn is_expected(path: &Path, error: &SourceError) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let by_name = EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension));
    by_name || !matches!(error, SourceError::NotRecognised { .. } | SourceError::Empty { .. })
}

fn load(path: &Path) -> Result<image::Still, SourceError> {
    let name: Arc<str> = Arc::from(path.display().to_string());
    let failed = |source| io_error(&name, "read", source);
    let mut file = File::open(path).map_err(|source| io_error(&name, "open", source))?;
    let mut head = Vec::with_capacity(16);
    file.by_ref().take(16).read_to_end(&mut head).map_err(failed)?;
    if head.is_empty() {
        return Err(SourceError::Empty { name });
    }
    if image::sniff(&head).is_none() {
        return Err(SourceError::NotRecognised { name, begins_with: hex(&head) });
    }
    let length = file.metadata().map_err(failed)?.len();
    if length > MAX_PICTURE_BYTES {
        let limit = MAX_PICTURE_BYTES;
        return Err(SourceError::TooLarge { name, what: "a picture", offset: 0, bytes: length, limit });
    }
    let mut bytes = head;
    // The file may grow while it is read: the limit holds all the same.
    file.take(MAX_PICTURE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    image::check(&Bytes::from(bytes)).map_err(|(offset, what)| SourceError::Malformed { name, offset, what })
}

/// At most 16 bytes for a message.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Digits compare as numbers, everything else by character.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(l), Some(r)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        let order = if l.is_ascii_digit() && r.is_ascii_digit() {
            let (number_l, rest_l) = split_number(left);
            let (number_r, rest_r) = split_number(right);
            (left, right) = (rest_l, rest_r);
            number_l.len().cmp(&number_r.len()).then_with(|| number_l.cmp(number_r))
        } else {
            (left, right) = (&left[l.len_utf8()..], &right[r.len_utf8()..]);
            l.cmp(&r)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Leading digits without leading zeros, and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

/// `*` and `?`; linear in text times pattern.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["img10.jpg", "img2.jpg", "img002b.jpg", "a.jpg", "img2.png", "img1.jpg"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a.jpg", "img1.jpg", "img2.jpg", "img2.png", "img002b.jpg", "img10.jpg"]);
    }

    #[test]
    fn patterns_match_as_a_shell_does() {
        for (pattern, text, expected) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "a.jpg.bak", false),
            ("s?ot*", "shot12", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c2b", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
