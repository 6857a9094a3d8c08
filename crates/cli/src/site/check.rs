//! From what is written to what is meant, with everything that is wrong.

use crate::commands::broker::{Fsync, host_and_port, keep_free};
use crate::site::fault::{Fault, FileError};
use crate::site::file::{BrokerTable, Camera, File, Log, Traces, Value, Viewer};
use crate::units;
use crate::viewer::{Https, https};
use anyhow::Context as _;
use clap::ValueEnum as _;
use lumenbus_broker::log::KeepFree;
use lumenbus_bus::{Profile, TopicPrefix};
use lumenbus_frame::{CameraId, StreamName};
use lumenbus_pipeline::fleet::{CameraCodec, CameraConfig, CameraSource};
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
            cameras: self.cameras(&file.camera),
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
            checked.push(config);
        }
        checked
    }

    fn camera(&mut self, camera: &Camera) -> Option<CameraConfig> {
        let id = self.parse::<CameraId>(Some(&camera.id));
        let source = CameraSource::Spec(self.source(camera.source.get_ref()));
        self.note(&camera.source, source.check());
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
        let keyframe_interval = self.quantity(camera.keyframe_interval.as_ref(), positive_duration);
        let fps = self.quantity(camera.fps.as_ref(), units::frame_rate);
        let deadline = self.quantity(camera.deadline.as_ref(), positive_duration);
        let topic = self.parse(camera.topic.as_ref());
        let stream = self.parse::<StreamName>(camera.stream.as_ref());
        let mut config = CameraConfig::new(id?, source);
        (config.name, config.group, config.labels) = (name, group, labels);
        config.codec = codec.unwrap_or_default();
        (config.bitrate, config.fps, config.deadline, config.topic) = (bitrate, fps, deadline, topic);
        config.quality = quality.unwrap_or(config.quality);
        config.keyframe_interval = keyframe_interval.unwrap_or(config.keyframe_interval);
        config.stream = stream.unwrap_or_default();
        (config.is_looped, config.enabled) = (camera.is_looped, camera.enabled);
        Some(config)
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
    source.starts_with("test:") || source.contains("://")
}

/// The codecs by the names they have in the file.
const CODECS: [(&str, CameraCodec); 7] = [
    ("passthrough", CameraCodec::Passthrough),
    ("h264", CameraCodec::H264),
    ("jpeg", CameraCodec::Jpeg),
    ("webp", CameraCodec::Webp),
    ("png", CameraCodec::Png),
    ("jpeg2000", CameraCodec::Jpeg2000),
    ("raw", CameraCodec::Raw),
];

fn codec(name: &str) -> Result<CameraCodec, String> {
    let known = CODECS.iter().find(|(known, _)| *known == name);
    known.map(|(_, codec)| *codec).ok_or_else(|| format!("write one of {}", CODECS.map(|(name, _)| name).join(", ")))
}

/// As it is called in the file; `None` for what is worked out from the source.
pub(crate) fn codec_name(codec: CameraCodec) -> Option<&'static str> {
    CODECS.iter().find(|(_, known)| *known == codec).map(|(name, _)| *name)
}

fn quality(text: &str) -> Result<u8, String> {
    let quality = text.parse::<u8>().ok().filter(|quality| (1..=100).contains(quality));
    quality.ok_or_else(|| "write a number from 1 to 100".to_owned())
}

fn positive_duration(text: &str) -> Result<std::time::Duration, String> {
    units::duration(text)
        .and_then(|time| if time.is_zero() { Err("it must be longer than 0".to_owned()) } else { Ok(time) })
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
        check("[[camera]]\nid = \"a\"\nsource = \"x\"\nfps = true\n", "boolean is neither a number nor a text");
        check("[traces]\nsample_ratio = 2\n", "line 2: [traces] sample_ratio: write a share");
        check("[log]\nlevel = \"loud\"\n", "line 2: [log] level: write one of error");
        check("profile = \"fast\"\n", "line 1: profile: ");
        check("a = [\n", "line ");
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
            "[[camera]]\nid = \"a\"\nsource = \"rtsp://me:hunter2@cam/1\"\n",
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
