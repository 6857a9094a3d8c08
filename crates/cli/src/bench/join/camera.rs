//! The stream that is joined: `lumenbus publish` as a process of its own.

use super::arguments::JoinArguments;
use super::joiner::Joiner;
use crate::bench::decoded::pictures::Pictures;
use anyhow::Context as _;
use lumenbus_bus::BusConfig;
use lumenbus_codec::EncoderConfig;
use lumenbus_frame::{Codec, FrameRate};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Its name.
pub(super) const CAMERA: &str = "join";

/// Who codes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file, as it is.
    PassedThrough,
    /// The publisher, which makes a keyframe when it is asked.
    Encoded,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PassedThrough => "passed through",
            Self::Encoded => "encoded",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::PassedThrough => "a stream that is passed through",
            Self::Encoded => "a stream that is encoded here: a keyframe is asked for",
        }
    }
}

/// Ends with this value.
pub(super) struct Camera {
    child: Child,
    _folder: TempDir,
}

impl Camera {
    pub(super) fn start(
        bus: &BusConfig,
        topic: &str,
        kind: Kind,
        arguments: &JoinArguments,
        pictures: &Pictures,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lumenbus-bench-").tempdir().context("a folder for the stream")?;
        let settings = folder.path().join("settings.toml");
        std::fs::write(&settings, settings_of(bus)?).with_context(|| format!("writing {}", settings.display()))?;
        let (prefix, fps) = (bus.topic_prefix.as_str(), arguments.live.fps.to_string());
        let topic = topic.strip_prefix(prefix).unwrap_or(topic);
        let mut command = Command::new(std::env::current_exe().context("cannot find this program's file")?);
        command.args(["publish", "--quiet", "--brokers", &bus.brokers, "--topic-prefix", prefix, "--config"]);
        command.arg(settings).args(["--camera", CAMERA, "--topic", topic, "--fps", &fps, "--loop"]);
        match kind {
            Kind::PassedThrough => {
                let file = folder.path().join("gop.h264");
                write_gop(&file, arguments, pictures)?;
                command.arg(file);
            }
            Kind::Encoded => {
                let gop = humantime::format_duration(arguments.live.gop).to_string().replace(' ', "");
                command.args(["--codec", "h264", "--gop", &gop, "--bitrate", &arguments.bitrate.to_string()]);
                command.arg(
                    arguments
                        .live
                        .source
                        .clone()
                        .unwrap_or_else(|| format!("test:{}@{fps},noise=6", arguments.live.size)),
                );
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start a publisher")?;
        Ok(Self { child, _folder: folder })
    }

    /// Until its frames come.
    pub(super) fn wait(&self, joiner: &Joiner) -> anyhow::Result<()> {
        joiner.wait_for_frames(2 * u64::from(joiner.fps()))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How the publisher's clients are to be made, as a settings file: a password is nothing for a command line.
fn settings_of(bus: &BusConfig) -> anyhow::Result<String> {
    let text = |text: &String| toml::Value::String(text.clone());
    let kafka = bus.properties.iter().map(|(name, value)| (name.clone(), text(value))).collect::<toml::Table>();
    let topics = toml::Table::from_iter([("create".to_owned(), (!bus.keeps_topics_as_they_are).into())]);
    let file = toml::Table::from_iter([
        ("profile".to_owned(), bus.profile.to_string().into()),
        ("topics".to_owned(), topics.into()),
        ("kafka".to_owned(), kafka.into()),
    ]);
    toml::to_string(&file).context("the publisher's settings")
}

/// One GOP; looped, every round begins with its keyframe.
fn write_gop(path: &Path, arguments: &JoinArguments, pictures: &Pictures) -> anyhow::Result<()> {
    let mut config = EncoderConfig::new(Codec::H264);
    config.frame_rate = FrameRate::per_second(arguments.live.fps);
    config.bits_per_second = Some(arguments.bitrate);
    config.keyframe_interval = arguments.live.gop * 2;
    config.h264.scene_cuts = false;
    pictures.write_coded(path, &config, arguments.live.frames_in(arguments.live.gop)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use crate::settings::{Settings, site};
    use clap::Parser as _;

    #[test]
    fn the_publishers_clients_are_those_of_the_joiner() {
        let mut bus = BusConfig::new("127.0.0.1:9");
        for (name, value) in [("sasl.password", "a \"b\" \\ = #"), ("linger.ms", "7"), ("debug", "")] {
            bus.set_property(name, value);
        }
        (bus.profile, bus.keeps_topics_as_they_are) = (lumenbus_bus::Profile::Throughput, true);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, settings_of(&bus).unwrap()).unwrap();
        let arguments = ["lumenbus", "--brokers", "127.0.0.1:9", "--config", path.to_str().unwrap(), "topics", "plan"];
        let arguments = Arguments::try_parse_from(arguments).unwrap();
        let resolved = Settings::resolve(&arguments.global, site(&arguments).unwrap()).unwrap().bus;
        assert_eq!(resolved.properties, bus.properties);
        assert_eq!((resolved.profile, resolved.keeps_topics_as_they_are), (bus.profile, true));
    }
}
