//! From what is written to what is meant, with everything that is wrong.

mod credentials;
mod detect;
mod webhook;

use crate::commands::broker::{Fsync, host_and_port, keep_free};
use crate::detection::DetectOptions;
use crate::site::fault::{Fault, FileError};
use crate::site::file::{BrokerTable, Camera, File, FleetTable, Log, Traces, Value, Viewer};
use crate::site::folder;
use crate::site::sharing::{ShareSettings, own_name};
use crate::units;
use crate::video::RateControlChoice;
use crate::viewer::{Https, https};
use crate::webhook::WebhookOptions;
use anyhow::Context as _;
use clap::ValueEnum as _;
use lumenbus_broker::log::KeepFree;
use lumenbus_bus::{Profile, TopicPrefix};
use lumenbus_codec::support;
use lumenbus_frame::{CameraId, Codec, FleetName, StreamName};
use lumenbus_pipeline::fleet::{CameraCodec, CameraConfig, CameraSource};
use lumenbus_pipeline::video::{Futile, VideoOptions};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::Spanned;

/// Largest settings file.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Longest display name and group.
const MAX_TEXT_CHARS: usize = 256;
/// Most labels of a camera, as the directory takes them.
const MAX_LABELS: usize = 64;
/// Where the embedded broker keeps its data and listens, unless the file says otherwise.
const DEFAULT_DATA: &str = "lumenbus-data";
const DEFAULT_LISTEN: &str = "127.0.0.1:9092";
/// The name of a camera's second stream.
const SUB: &str = "sub";
/// The share of traces that is sent.
const DEFAULT_SAMPLE_RATIO: f64 = 0.01;

/// A checked settings file.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) path: PathBuf,
    /// The words that follow are for every command.
    pub(crate) brokers: Option<String>,
    pub(crate) topic_prefix: Option<String>,
    pub(crate) profile: Option<Profile>,
    pub(crate) creates_topics: bool,
    pub(crate) kafka: BTreeMap<String, String>,
    /// And these for the box.
    pub(crate) broker: Option<BrokerSettings>,
    pub(crate) viewer: ViewerSettings,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) traces: TracesSettings,
    pub(crate) log: LogSettings,
    pub(crate) cameras: Vec<CameraConfig>,
    /// Whose videos are among them.
    pub(crate) folder: Option<Folder>,
    /// Other processes run the same list of cameras.
    pub(crate) share: Option<ShareSettings>,
    /// Analysis workers, a group each.
    pub(crate) detects: Vec<DetectOptions>,
    /// Receivers of events.
    pub(crate) webhooks: Vec<WebhookOptions>,
}

/// A folder of videos and what was in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) files: Vec<PathBuf>,
}

/// The embedded broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BrokerSettings {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<(String, u16)>,
    pub(crate) keep_free: KeepFree,
    pub(crate) fsync: Fsync,
}

/// The viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewerSettings {
    pub(crate) is_enabled: bool,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) https: Option<Https>,
    pub(crate) allow_hosts: Vec<String>,
    pub(crate) show_patient_data: bool,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TracesSettings {
    pub(crate) endpoint: Option<String>,
    pub(crate) sample_ratio: f64,
}

/// The log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogSettings {
    pub(crate) level: Option<String>,
    pub(crate) format: Option<crate::arguments::LogFormat>,
}

impl Site {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// A file that cannot be read; [`FileError`] with line, key and reason of everything that is wrong in it.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::parse(path, &read_text(path)?)?)
    }

    /// As [`Site::read`], of a text that is or shall be in that file.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let error = |faults| FileError { path: path.to_owned(), faults };
        let file: File = toml::from_str(text).map_err(|found| error(vec![Fault::of_parser(text, &found)]))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut check = Check { text, folder, faults: Vec::new() };
        let site = check.file(path, file);
        if check.faults.is_empty() {
            return Ok(site);
        }
        check.faults.sort_by_key(|fault| fault.line);
        Err(error(check.faults))
    }

    /// Settings other than cameras that differ: they count from the next start on.
    pub(crate) fn frozen_changes(&self, other: &Self) -> Vec<&'static str> {
        let rows = [
            ("brokers", self.brokers != other.brokers),
            ("topic_prefix", self.topic_prefix != other.topic_prefix),
            ("profile", self.profile != other.profile),
            ("[topics]", self.creates_topics != other.creates_topics),
            ("[kafka]", self.kafka != other.kafka),
            ("[broker]", self.broker != other.broker),
            ("[viewer]", self.viewer != other.viewer),
            ("[metrics]", self.metrics != other.metrics),
            ("[traces]", self.traces != other.traces),
            ("[log]", self.log != other.log),
            ("[fleet] shared", self.share != other.share),
        ];
        rows.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

/// The file's text, when it is of a sensible size.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let what = || format!("cannot read the settings file {}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(what)?;
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).with_context(what)?;
    anyhow::ensure!(
        bytes as u64 <= MAX_FILE_BYTES,
        "the settings file {} is larger than {} MiB; is it the right file?",
        path.display(),
        MAX_FILE_BYTES >> 20
    );
    Ok(text)
}

struct Check<'a> {
    text: &'a str,
    folder: PathBuf,
    faults: Vec<Fault>,
}

impl Check<'_> {
    fn file(&mut self, path: &Path, file: File) -> Site {
        let profile = self.parse::<Profile>(file.profile.as_ref());
        if let Some(prefix) = &file.topic_prefix {
            self.note(prefix, TopicPrefix::new(prefix.get_ref()).map(drop));
        }
        let mut cameras = self.cameras(&file.camera);
        let folder = self.videos(&file.fleet, &mut cameras);
        let share = self.share(&file.fleet);
        let detects = self.detects(&file.detect);
        let webhooks = self.webhooks(&file.webhook);
        Site {
            path: path.to_owned(),
            brokers: file.brokers.map(Spanned::into_inner),
            topic_prefix: file.topic_prefix.map(Spanned::into_inner),
            profile,
            creates_topics: file.topics.create,
            kafka: file.kafka.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
            broker: file.broker.map(|table| self.broker(&table)),
            viewer: self.viewer(&file.viewer),
            metrics: self.parse(file.metrics.listen.as_ref()),
            traces: self.traces(&file.traces),
            log: self.log(&file.log),
            cameras,
            folder,
            share,
            detects,
            webhooks,
        }
    }

    /// Notes an error at a value's place.
    fn note<T, U, E: Display>(&mut self, place: &Spanned<U>, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.faults.push(Fault::at(self.text, place.span().start, error.to_string()));
                None
            }
        }
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, value: Option<&Spanned<String>>) -> Option<T> {
        let value = value?;
        self.note(value, value.get_ref().parse::<T>())
    }

    /// A number or a text such as `4M`.
    fn quantity<T>(&mut self, value: Option<&Value>, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = value?;
        let text = match value.get_ref() {
            toml::Value::String(text) => Ok(text.clone()),
            toml::Value::Integer(number) => Ok(number.to_string()),
            toml::Value::Float(number) => Ok(number.to_string()),
            other => Err(format!("{} is neither a number nor a text", other.type_str())),
        };
        self.note(value, text.and_then(|text| read(&text)))
    }

    /// A path relative to the file.
    fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    fn broker(&mut self, table: &BrokerTable) -> BrokerSettings {
        let data = table.data.as_ref().map_or(DEFAULT_DATA, |data| data.get_ref());
        let advertise = table.advertise.as_ref();
        let advertise = advertise.and_then(|value| self.note(value, host_and_port(value.get_ref())));
        let keep_free = self.quantity(table.keep_free.as_ref(), keep_free);
        let fsync = self.parse(table.fsync.as_ref());
        BrokerSettings {
            data: self.path(data),
            listen: self
                .parse(table.listen.as_ref())
                .unwrap_or_else(|| DEFAULT_LISTEN.parse().expect("the default is an address")),
            advertise,
            keep_free: keep_free.unwrap_or(KeepFree::Share(0.1)),
            fsync: fsync.unwrap_or_default(),
        }
    }

    fn viewer(&mut self, table: &Viewer) -> ViewerSettings {
        let https = table.https.as_ref().and_then(|value| self.note(value, https(value.get_ref())));
        let https = https.map(|https| match https {
            Https::SelfSigned => Https::SelfSigned,
            Https::Files { certificate, key } => {
                Https::Files { certificate: self.folder.join(certificate), key: self.folder.join(key) }
            }
        });
        ViewerSettings {
            is_enabled: table.enabled,
            listen: self.parse(table.listen.as_ref()),
            token_file: table.token_file.as_ref().map(|path| self.path(path.get_ref())),
            https,
            allow_hosts: table.allow_hosts.clone(),
            show_patient_data: table.show_patient_data,
        }
    }

    fn traces(&mut self, table: &Traces) -> TracesSettings {
        let ratio = |text: &str| {
            let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or_else(|| "write a share from 0 to 1, such as 0.01".to_owned())
        };
        TracesSettings {
            endpoint: table.endpoint.as_ref().map(|endpoint| endpoint.get_ref().clone()),
            sample_ratio: self.quantity(table.sample_ratio.as_ref(), ratio).unwrap_or(DEFAULT_SAMPLE_RATIO),
        }
    }

    fn log(&mut self, table: &Log) -> LogSettings {
        const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
        let level = table.level.as_ref().and_then(|level| {
            let is_known = LEVELS.contains(&level.get_ref().as_str());
            let known = is_known.then(|| level.get_ref().clone());
            self.note(level, known.ok_or_else(|| format!("write one of {}", LEVELS.join(", "))))
        });
        let format = table.format.as_ref().and_then(|format| {
            let known = crate::arguments::LogFormat::from_str(format.get_ref(), false);
            self.note(format, known.map_err(|_| "write text or json"))
        });
        LogSettings { level, format }
    }

    fn cameras(&mut self, cameras: &[Camera]) -> Vec<CameraConfig> {
        let mut lines: HashMap<CameraId, usize> = HashMap::new();
        let mut checked = Vec::new();
        for camera in cameras {
            let Some(config) = self.camera(camera) else { continue };
            let line = Fault::at(self.text, camera.id.span().start, "").line;
            if let Some(first) = lines.insert(config.id.clone(), line) {
                let twice = format!("camera {} is already on line {first}; give each an id of its own", config.id);
                self.note(&camera.id, Err::<(), _>(twice));
            }
            let sub = camera.sub.as_ref().and_then(|source| self.sub(source, &config));
            checked.push(config);
            checked.extend(sub);
        }
        checked
    }

    fn share(&mut self, fleet: &FleetTable) -> Option<ShareSettings> {
        let node = self.free_text(fleet.node.as_ref());
        if let (Some(place), None) = (&fleet.node, &fleet.shared) {
            self.note(place, Err::<(), _>("it names this process among those of a shared fleet: set shared as well"));
        }
        let fleet = self.parse::<FleetName>(fleet.shared.as_ref())?;
        Some(ShareSettings { fleet, node: node.unwrap_or_else(own_name) })
    }

    /// Adds a camera for each video of the fleet's folder.
    fn videos(&mut self, fleet: &FleetTable, cameras: &mut Vec<CameraConfig>) -> Option<Folder> {
        let group = self.free_text(fleet.group.as_ref());
        let snapshots = self.quantity(fleet.snapshots.as_ref(), units::positive_duration);
        let place = fleet.folder.as_ref()?;
        let path = self.path(place.get_ref());
        let files =
            folder::videos(&path).map_err(|error| format!("cannot read the folder {}: {error}", path.display()));
        let files = self.note(place, files)?;
        for (id, file) in folder::cameras(&files) {
            if cameras.iter().any(|camera| camera.id == id) {
                let twice = format!("{} would be camera {id}, which there is already; rename the file", file.display());
                self.note(place, Err::<(), _>(twice));
                continue;
            }
            let mut camera = CameraConfig::new(id, CameraSource::Spec(file.display().to_string()));
            (camera.group, camera.is_looped, camera.snapshots) = (group.clone(), fleet.is_looped, snapshots);
            cameras.push(camera);
        }
        Some(Folder { path, files })
    }

    /// The camera's second stream: passed through, and told of as the first.
    fn sub(&mut self, source: &Spanned<String>, main: &CameraConfig) -> Option<CameraConfig> {
        let spec = CameraSource::Spec(self.source(source.get_ref()));
        self.note(source, spec.check())?;
        let name = self.note(source, SUB.parse::<StreamName>())?;
        let is_free = (main.stream != name).then_some(name);
        let stream = self.note(source, is_free.ok_or("the camera's own stream is called so; leave stream out"))?;
        let mut sub = CameraConfig::new(main.id.clone(), spec);
        sub.credentials.clone_from(&main.credentials);
        (sub.name, sub.group, sub.labels) = (main.name.clone(), main.group.clone(), main.labels.clone());
        (sub.is_looped, sub.deadline, sub.enabled) = (main.is_looped, main.deadline, main.enabled);
        sub.stream = stream;
        Some(sub)
    }

    fn camera(&mut self, camera: &Camera) -> Option<CameraConfig> {
        let id = self.parse::<CameraId>(Some(&camera.id));
        let source = CameraSource::Spec(self.source(camera.source.get_ref()));
        self.note(&camera.source, source.check());
        let credentials = self.credentials(camera);
        let name = self.free_text(camera.name.as_ref());
        let group = self.free_text(camera.group.as_ref());
        let labels = camera.labels.as_ref().map_or_else(Vec::new, |labels| {
            let count = labels.get_ref().len();
            let is_right = (count <= MAX_LABELS).then_some(());
            self.note(labels, is_right.ok_or_else(|| format!("{count} labels; a camera has at most {MAX_LABELS}")));
            labels.get_ref().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        });
        let codec = camera.codec.as_ref().and_then(|value| self.note(value, codec(value.get_ref())));
        let bitrate = self.quantity(camera.bitrate.as_ref(), units::bitrate);
        let quality = self.quantity(camera.quality.as_ref(), quality);
        let video = self.video(camera);
        if let (Some(place), Some(made)) = (&camera.codec, codec.and_then(made)) {
            let futile = video.futile(made, None);
            let told = futile.map(|Futile { names, why }| {
                format!("{} would do nothing with {made}: {why}; leave it out", names.join(", "))
            });
            self.note(place, told.map_or(Ok(()), Err));
        }
        let fps = self.quantity(camera.fps.as_ref(), units::frame_rate);
        let deadline = self.quantity(camera.deadline.as_ref(), units::positive_duration);
        let snapshots = self.quantity(camera.snapshots.as_ref(), units::positive_duration);
        let topic = self.parse(camera.topic.as_ref());
        let stream = self.parse::<StreamName>(camera.stream.as_ref());
        let mut config = CameraConfig::new(id?, source);
        config.credentials = credentials;
        (config.name, config.group, config.labels) = (name, group, labels);
        config.codec = codec.unwrap_or_default();
        (config.bitrate, config.fps, config.deadline, config.topic) = (bitrate, fps, deadline, topic);
        config.quality = quality.unwrap_or(config.quality);
        config.video = video;
        config.snapshots = snapshots;
        config.stream = stream.unwrap_or_default();
        (config.is_looped, config.enabled) = (camera.is_looped, camera.enabled);
        Some(config)
    }

    fn video(&mut self, camera: &Camera) -> VideoOptions {
        let default = VideoOptions::default();
        let control = camera.rate_control.as_ref().and_then(|name| {
            let known = RateControlChoice::from_str(name.get_ref(), false);
            self.note(name, known.map_err(|_| "write budget or library"))
        });
        VideoOptions {
            is_fixed_camera: camera.fixed_camera,
            gop: self.quantity(camera.gop.as_ref(), units::gop),
            idle_skip: camera.idle_skip,
            denoise: camera.denoise,
            keyframe_requests: camera.keyframe_requests,
            rate_control: control.map_or(default.rate_control, RateControlChoice::control),
            scene_cuts: camera.scene_cuts,
            two_slices: self.quantity(camera.slices.as_ref(), is_two).unwrap_or(default.two_slices),
            two_layers: self.quantity(camera.temporal_layers.as_ref(), is_two).unwrap_or(default.two_layers),
        }
    }

    /// A file of a relative path is looked for beside the settings file.
    fn source(&self, source: &str) -> String {
        if is_no_path(source) || source.is_empty() {
            return source.to_owned();
        }
        self.path(source).display().to_string()
    }

    fn free_text(&mut self, value: Option<&Spanned<String>>) -> Option<String> {
        let value = value?;
        let text = value.get_ref();
        let is_right = text.chars().count() <= MAX_TEXT_CHARS && !text.chars().any(char::is_control);
        let checked = is_right.then(|| text.clone());
        self.note(value, checked.ok_or_else(|| format!("write one line of at most {MAX_TEXT_CHARS} characters")))
    }
}

/// Sources that are not files.
pub(crate) fn is_no_path(source: &str) -> bool {
    source.starts_with("test:") || source.starts_with("gst:") || source.contains("://")
}

/// The codecs by the names they have in the file.
const CODECS: [(&str, CameraCodec); 8] = [
    ("passthrough", CameraCodec::Passthrough),
    ("h264", CameraCodec::H264),
    ("av1", CameraCodec::Av1),
    ("jpeg", CameraCodec::Jpeg),
    ("webp", CameraCodec::Webp),
    ("png", CameraCodec::Png),
    ("jpeg2000", CameraCodec::Jpeg2000),
    ("raw", CameraCodec::Raw),
];

fn codec(name: &str) -> Result<CameraCodec, String> {
    let known = CODECS.iter().find(|(known, _)| *known == name).map(|(_, codec)| *codec);
    let codec = known.ok_or_else(|| format!("write one of {}", CODECS.map(|(name, _)| name).join(", ")))?;
    let made = made(codec);
    let row = support().find(|row| Some(row.codec) == made);
    match row.and_then(|row| row.encode.err()) {
        Some(reason) => Err(format!("{name} cannot be encoded: {reason}")),
        None => Ok(codec),
    }
}

/// What is encoded whatever the source gives; `None` where that decides.
fn made(codec: CameraCodec) -> Option<Codec> {
    match codec {
        CameraCodec::Auto | CameraCodec::Passthrough => None,
        CameraCodec::H264 => Some(Codec::H264),
        CameraCodec::Av1 => Some(Codec::Av1),
        CameraCodec::Jpeg => Some(Codec::Jpeg),
        CameraCodec::Webp => Some(Codec::Webp),
        CameraCodec::Png => Some(Codec::Png),
        CameraCodec::Jpeg2000 => Some(Codec::Jpeg2000),
        CameraCodec::Raw => Some(Codec::Raw),
    }
}

/// As it is called in the file; `None` for what is worked out from the source.
pub(crate) fn codec_name(codec: CameraCodec) -> Option<&'static str> {
    CODECS.iter().find(|(_, known)| *known == codec).map(|(name, _)| *name)
}

/// Whether it is the second of two choices.
fn is_two(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(false),
        "2" => Ok(true),
        _ => Err("write 1 or 2".to_owned()),
    }
}

fn quality(text: &str) -> Result<u8, String> {
    let quality = text.parse::<u8>().ok().filter(|quality| (1..=100).contains(quality));
    quality.ok_or_else(|| "write a number from 1 to 100".to_owned())
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        Site::parse(Path::new("box/lumenbus.toml"), text).unwrap_err().to_string()
    }

    fn check(text: &str, expected: &str) {
        let found = faults(text);
        assert!(found.contains(expected), "{expected:?} is not in:\n{found}");
    }

    #[test]
    fn every_fault_has_its_line_and_key() {
        check("brokers = \"a:1\"\nbrokrs = \"b:1\"\n", "box/lumenbus.toml, line 2: brokrs: unknown field `brokrs`");
        check("[[camera]]\nid = \"a\"\nsource = 5\n", "line 3: [[camera]] source: invalid type: integer `5`");
        check("[[camera]]\nid = \"a b\"\nsource = \"x\"\n", "line 2: [[camera]] id: camera id \"a b\"");
        check("[[camera]]\nid = \"a\"\n", "line 1: [[camera]]: missing field `source`");
        check("[viewer]\nlisten = \"nowhere\"\n", "line 2: [viewer] listen: ");
        check("[[camera]]\nid = \"a\"\nsource = \"test:10\"\n", "line 3: [[camera]] source: ");
        check("[[camera]]\nid = \"a\"\nsource = \"x\"\nquality = 0\n", "line 4: [[camera]] quality: ");
        check("[[camera]]\nid = \"a\"\nsource = \"x\"\ngop = \"0s\"\n", "line 4: [[camera]] gop: ");
        check("[[camera]]\nid = \"a\"\nsource = \"x\"\nslices = 3\n", "line 4: [[camera]] slices: write 1 or 2");
        check(
            "[[camera]]\nid = \"a\"\nsource = \"x\"\nrate_control = \"abr\"\n",
            "rate_control: write budget or library",
        );
        check("[[camera]]\nid = \"a\"\nsource = \"x\"\nfps = true\n", "boolean is neither a number nor a text");
        check("[traces]\nsample_ratio = 2\n", "line 2: [traces] sample_ratio: write a share");
        check("[fleet]\nshared = \"the yard\"\n", "line 2: [fleet] shared: fleet name \"the yard\"");
        check(
            "[fleet]\nnode = \"box-2\"\n",
            "line 2: [fleet] node: it names this process among those of a shared fleet",
        );
        check("[log]\nlevel = \"loud\"\n", "line 2: [log] level: write one of error");
        check("profile = \"fast\"\n", "line 1: profile: ");
        check("a = [\n", "line ");
    }

    #[test]
    fn what_would_do_nothing_is_a_fault() {
        let camera = |lines: &str| format!("[[camera]]\nid = \"a\"\nsource = \"x\"\n{lines}");
        check(
            &camera("codec = \"jpeg\"\ndenoise = true\n"),
            "line 4: [[camera]] codec: denoise would do nothing with jpeg",
        );
        check(&camera("codec = \"raw\"\nfixed_camera = true\nidle_skip = true\n"), "fixed_camera, idle_skip would");
        let narrow = "codec = \"h264\"\nrate_control = \"library\"\nslices = 2\n";
        check(&camera(narrow), "slices would do nothing with h264: they need rate control \"budget\"");
        let of_h264 = Site::parse(Path::new("x"), &camera("codec = \"h264\"\nfixed_camera = true\nslices = 2\n"));
        assert!(of_h264.is_ok());
        let av1 = Site::parse(Path::new("x"), &camera("codec = \"av1\"\n"));
        match support().find(|row| row.codec == Codec::Av1).and_then(|row| row.encode.err()) {
            Some(reason) => assert!(av1.unwrap_err().to_string().contains(&format!("av1 cannot be encoded: {reason}"))),
            None => assert_eq!(av1.unwrap().cameras[0].codec, CameraCodec::Av1),
        }
    }

    #[test]
    fn duplicates_name_both_lines_and_all_faults_are_told_at_once() {
        let text = "[[camera]]\nid = \"a\"\nsource = \"x\"\n[[camera]]\nid = \"a\"\nsource = \"\"\n";
        let found = faults(text);
        assert!(found.contains("line 5: [[camera]] id: camera a is already on line 2"), "{found}");
        assert!(found.contains("line 6: [[camera]] source: "), "{found}");
    }

    #[test]
    fn secrets_are_not_repeated() {
        for text in [
            "[[camera]]\nid = \"a\"\nsource = \"ftp://me:hunter2@cam/1\"\n",
            "[topics]\ncreate = \"hunter2\"\n",
            "[[camera]]\nid = \"a\"\nsource = \"rtsp://me:hunter2@cam/1\n",
            "[kafka]\n\"sasl.password\" = hunter2\n",
            "[kafka]\n\"sasl.password\" = \"hunter2\n",
        ] {
            assert!(!faults(text).contains("hunter2"), "{}", faults(text));
        }
    }

    #[test]
    fn paths_are_relative_to_the_file_and_other_sources_are_left_alone() {
        let text = "[broker]\ndata = \"d\"\n[[camera]]\nid = \"a\"\nsource = \"clips/a.mp4\"\nfps = 25\nbitrate = \"2M\"\n\
                    loop = true\nlabels = { site = \"x\" }\n[[camera]]\nid = \"b\"\nsource = \"test:640x480@30\"\n\
                    [[camera]]\nid = \"c\"\nsource = \"/abs/c.mp4\"\n";
        let site = Site::parse(Path::new("box/lumenbus.toml"), text).unwrap();
        assert_eq!(site.broker.as_ref().unwrap().data, Path::new("box/d"));
        let sources: Vec<_> = site.cameras.iter().map(|camera| camera.source.to_string()).collect();
        assert_eq!(sources, ["box/clips/a.mp4", "test:640x480@30", "/abs/c.mp4"]);
        let first = &site.cameras[0];
        assert_eq!((first.bitrate, first.is_looped, first.labels.len()), (Some(2_000_000), true, 1));
        let other = Site::parse(Path::new("box/lumenbus.toml"), "[viewer]\nenabled = false\n").unwrap();
        assert_eq!(site.frozen_changes(&other), ["[broker]", "[viewer]"]);
    }
}
