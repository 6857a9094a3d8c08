//! A folder: one file per frame, `CAMERA/EPOCH-SEQ.jpg`.
//!
//! Epoch and seq have a fixed number of digits, so sorting by name is sorting by the log. A stream that is not
//! `main` gets the folder `CAMERA@STREAM`, and a camera's stream on a second topic `CAMERA@STREAM@TOPIC`: `@` is
//! in no id, so no two streams share a folder. Ids hold no separators and are never `..`, and links
//! below the folder are refused, so nothing is written outside it.

use super::stills::{Stills, Trouble};
use super::{Form, Sink, SinkError, SinkOptions, SinkReport};
use lumenbus_frame::{CameraId, Codec, EncodedFrame, FrameId, Gap, StreamId, StreamName};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Digits of the largest epoch and seq, 2⁶⁴ − 1.
const DIGITS: usize = 20;
/// End of the name a file has until it is complete.
const UNFINISHED: &str = ".part";

pub(super) struct Folder {
    root: PathBuf,
    options: SinkOptions,
    streams: HashMap<StreamId, Branch>,
    /// Cameras' stream names whose plain folder is taken by a topic.
    plain: HashSet<(CameraId, StreamName)>,
    report: SinkReport,
}

/// One stream's subfolder.
struct Branch {
    folder: PathBuf,
    stills: Option<Stills>,
}

impl Folder {
    pub(super) fn open(root: &Path, options: &SinkOptions) -> Result<Self, SinkError> {
        let path = || root.to_owned();
        match fs::read_dir(root) {
            Ok(mut entries) if !options.overwrite => {
                if entries.any(|entry| entry.is_ok()) {
                    return Err(SinkError::NotEmpty { path: path() });
                }
            }
            Ok(_) => {}
            Err(_) => fs::create_dir_all(root).map_err(|source| SinkError::Create { path: path(), source })?,
        }
        let report = SinkReport::of(root.display().to_string());
        let (streams, plain) = (HashMap::new(), HashSet::new());
        Ok(Self { root: root.to_owned(), options: options.clone(), streams, plain, report })
    }

    fn branch(&mut self, stream: &StreamId) -> Result<&mut Branch, SinkError> {
        if !self.streams.contains_key(stream) {
            let name = self.folder_name(stream);
            let folder = self.root.join(name);
            make_folder(&folder)?;
            self.streams.insert(stream.clone(), Branch { folder, stills: None });
        }
        Ok(self.streams.get_mut(stream).expect("inserted above"))
    }

    fn folder_name(&mut self, stream: &StreamId) -> String {
        let StreamId { camera, topic, name } = stream;
        if !self.plain.insert((camera.clone(), name.clone())) {
            return format!("{camera}@{name}@{topic}");
        }
        if name.is_main() { camera.to_string() } else { format!("{camera}@{name}") }
    }

    /// Writes the pictures that are due with this frame; a frame that gives none is counted.
    fn pictures(&mut self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError> {
        let (quality, range) = (self.options.jpeg_quality, self.options.range);
        let branch = self.branch(stream)?;
        let stills = match &mut branch.stills {
            Some(stills) => stills,
            none => none.insert(Stills::new(quality, range).map_err(|source| {
                let stream = Box::new(stream.clone());
                SinkError::Codec { stream, form: "JPEG", source }
            })?),
        };
        let troubled = matches!(stills.push(stream, id, frame), Err(Trouble::Frame | Trouble::Stream(_)));
        self.report.undecodable += u64::from(troubled);
        self.write_due(stream)
    }

    fn write_due(&mut self, stream: &StreamId) -> Result<(), SinkError> {
        let Some(Branch { folder, stills: Some(stills) }) = self.streams.get_mut(stream) else { return Ok(()) };
        let folder = folder.clone();
        for (id, file) in stills.take() {
            self.write(&folder, id, &file)?;
        }
        Ok(())
    }

    /// Under another name first: whoever is killed here leaves no half picture.
    fn write(&mut self, folder: &Path, id: FrameId, file: &EncodedFrame) -> Result<(), SinkError> {
        let name = file_name(id, file.codec);
        let (path, unfinished) = (folder.join(&name), folder.join(format!(".{name}{UNFINISHED}")));
        if !self.options.overwrite && path.symlink_metadata().is_ok() {
            return Err(SinkError::Exists { path });
        }
        let done = fs::write(&unfinished, &file.payload).and_then(|()| fs::rename(&unfinished, &path));
        done.map_err(|source| {
            // Best effort: the error that is reported is the one that matters.
            fs::remove_file(&unfinished).ok();
            SinkError::Write { path, bytes: self.report.bytes, source }
        })?;
        self.report.frames += 1;
        self.report.files += 1;
        self.report.bytes += file.payload.len() as u64;
        Ok(())
    }

    fn interrupt(&mut self, stream: &StreamId, gap: Option<&Gap>) -> Result<(), SinkError> {
        if let Some(Branch { stills: Some(stills), .. }) = self.streams.get_mut(stream) {
            let failed = stills.interrupt(gap).is_err();
            self.report.undecodable += u64::from(failed);
        }
        self.write_due(stream)
    }
}

fn make_folder(path: &Path) -> Result<(), SinkError> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(SinkError::Leaves { path: path.to_owned() }),
        Err(_) => fs::create_dir(path).map_err(|source| SinkError::Create { path: path.to_owned(), source }),
    }
}

fn file_name(id: FrameId, codec: Codec) -> String {
    let extension = match codec {
        Codec::Jpeg => "jpg",
        Codec::Jpeg2000 => "jp2",
        Codec::Av1 => "obu",
        other => other.as_str(),
    };
    format!("{:0DIGITS$}-{:0DIGITS$}.{extension}", id.epoch.0, id.seq.0)
}

impl Sink for Folder {
    fn frame(&mut self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError> {
        match self.options.form {
            Form::Pictures => self.pictures(stream, id, frame),
            Form::Coded => {
                let folder = self.branch(stream)?.folder.clone();
                self.write(&folder, id, frame)
            }
        }
    }

    fn gap(&mut self, stream: &StreamId, gap: &Gap) -> Result<(), SinkError> {
        self.report.note_gap(gap);
        self.interrupt(stream, Some(gap))
    }

    fn turn(&mut self, stream: &StreamId) {
        if let Some(Branch { stills: Some(stills), .. }) = self.streams.get_mut(stream) {
            stills.turn();
        }
    }

    fn finish(mut self: Box<Self>) -> Result<SinkReport, SinkError> {
        let streams: Vec<StreamId> = self.streams.keys().cloned().collect();
        for stream in &streams {
            self.interrupt(stream, None)?;
        }
        let stills = self.streams.values().filter_map(|branch| branch.stills.as_ref());
        self.report.awaiting_keyframe = stills.map(Stills::awaiting_keyframe).sum();
        Ok(self.report)
    }
}
