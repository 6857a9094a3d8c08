//! `lumenbus cameras add` and `remove`.

use super::file;
use crate::arguments::CodecChoice;
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::site::{Draft, is_no_path};
use crate::video::VideoArguments;
use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use lumenbus_frame::{CameraId, TopicName};
use lumenbus_pipeline::fleet::CameraConfig;
use lumenbus_source::{SourceOptions, redact};
use serde_json::json;
use std::fs;
use std::path::Path;
use toml_edit::{InlineTable, Item, Table, value};

#[derive(Debug, Args)]
pub(super) struct AddArguments {
    /// Camera id: A-Z a-z 0-9 . _ -, at most 64 characters
    #[arg(value_name = "ID")]
    camera: CameraId,
    /// A file, a folder or pattern of pictures, rtsp://HOST/PATH, http://HOST/PATH, or test:WIDTHxHEIGHT@FPS
    #[arg(value_name = "SOURCE")]
    source: String,
    /// User of a camera on the network
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// File whose first line is the user's password, as seen from the settings file
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<String>,
    /// Variable of the environment that holds the user's password
    #[arg(long, value_name = "NAME", requires = "username", conflicts_with = "password_file")]
    password_env: Option<String>,
    /// Display name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Group
    #[arg(long, value_name = "TEXT")]
    group: Option<String>,
    /// A label, such as floor=2
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// How to code the frames [default: as the source gives them; h264 for pixels]
    #[arg(long, value_name = "CODEC")]
    codec: Option<CodecChoice>,
    /// Bit rate of encoded video, such as 4M
    #[arg(long, value_name = "BITS/S")]
    bitrate: Option<String>,
    /// Quality of encoded stills, 1 to 100; at 100 WebP and JPEG 2000 are lossless
    #[arg(long, value_name = "N")]
    quality: Option<u8>,
    /// Frames per second, where the source states none or another is wanted
    #[arg(long, value_name = "N")]
    fps: Option<String>,
    /// Begin again at the end of the source
    #[arg(long = "loop")]
    is_looped: bool,
    /// Drop frames that are older than this before they can be sent
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Source of a second stream of the camera, such as a smaller one; it is called sub
    #[arg(long, value_name = "SOURCE")]
    sub: Option<String>,
    /// JPEG stills of the video at this distance, such as 1s, in raw_images as the stream `snapshots`
    #[arg(long, value_name = "TIME")]
    snapshots: Option<String>,
    /// Topic without prefix
    #[arg(long, value_name = "TOPIC")]
    topic: Option<TopicName>,
    /// Write it down, but do not run it
    #[arg(long)]
    disabled: bool,
    /// Do not open the source first
    #[arg(long)]
    untested: bool,
    #[command(flatten)]
    video: VideoArguments,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArguments {
    /// Cameras to remove
    #[arg(required = true, value_name = "ID")]
    cameras: Vec<CameraId>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, for example floor=2")?;
    if name.is_empty() {
        Err("the name is missing before =".to_owned())
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

pub(super) fn add(arguments: &AddArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let site = file(settings)?;
    let (id, path) = (&arguments.camera, &site.path);
    if site.cameras.iter().any(|camera| camera.id == *id) {
        let path = path.display();
        return Err(Usage(format!("camera {id} is in {path} already; remove it first, or choose another id")).into());
    }
    let mut draft = Draft::open(path)?;
    draft.add(section(arguments, path)?);
    let new = draft.check()?;
    let added = new.cameras.iter().find(|camera| camera.id == *id).context("the camera was not added")?;
    if !arguments.untested {
        test(added)?;
    }
    draft.save()?;
    let source = redact(&arguments.source);
    output.result(&format!("camera {id} ({source}) is in {} now", path.display()));
    output.summary(
        "cameras",
        json!({ "action": "add", "camera": id.as_str(), "source": source, "file": path.display().to_string() }),
    );
    Ok(Outcome::Done)
}

/// A source that cannot be opened is refused before it is in the file.
fn test(camera: &CameraConfig) -> anyhow::Result<()> {
    let credentials = camera.credentials.clone();
    let options = SourceOptions { frame_rate: camera.fps, credentials, ..SourceOptions::default() };
    let opened = camera.source.open(&options).map(drop);
    opened.with_context(|| format!("camera {} was not added (--untested adds it all the same)", camera.id))
}

fn section(arguments: &AddArguments, path: &Path) -> anyhow::Result<Table> {
    let mut table = Table::new();
    let mut put = |key: &str, item: Option<Item>| {
        if let Some(item) = item {
            table.insert(key, item);
        }
    };
    put("id", Some(value(arguments.camera.as_str())));
    put("source", Some(value(seen_from_file(&arguments.source, path)?)));
    put("username", arguments.username.as_deref().map(value));
    put("password_file", arguments.password_file.as_deref().map(value));
    put("password_env", arguments.password_env.as_deref().map(value));
    put("name", arguments.name.as_deref().map(value));
    put("group", arguments.group.as_deref().map(value));
    let labels: InlineTable = arguments.label.iter().map(|(name, text)| (name, text)).collect();
    put("labels", (!labels.is_empty()).then(|| value(labels)));
    let codec = arguments.codec.as_ref().and_then(CodecChoice::to_possible_value);
    put("codec", codec.map(|codec| value(codec.get_name())));
    put("bitrate", arguments.bitrate.as_deref().map(value));
    put("quality", arguments.quality.map(|quality| value(i64::from(quality))));
    put("fps", arguments.fps.as_deref().map(number_or_text));
    put("loop", arguments.is_looped.then(|| value(true)));
    put("deadline", arguments.deadline.as_deref().map(value));
    let sub = arguments.sub.as_deref().map(|source| seen_from_file(source, path)).transpose()?;
    put("sub", sub.map(value));
    put("snapshots", arguments.snapshots.as_deref().map(value));
    put("topic", arguments.topic.as_ref().map(|topic| value(topic.as_str())));
    put("enabled", arguments.disabled.then(|| value(false)));
    arguments.video.put(&mut table);
    Ok(table)
}

fn number_or_text(text: &str) -> Item {
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) => value(number),
        (_, Ok(number)) => value(number),
        _ => value(text),
    }
}

/// A path typed here is relative to this folder; in the file it is relative to the file's.
fn seen_from_file(source: &str, path: &Path) -> anyhow::Result<String> {
    // Without links and dots, so that one can be seen from the other.
    let here = std::env::current_dir().and_then(fs::canonicalize).context("cannot tell the current folder")?;
    let file = fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    if is_no_path(source) || Path::new(source).is_absolute() || folder == here {
        return Ok(source.to_owned());
    }
    let absolute = here.join(source);
    let inside = absolute.strip_prefix(folder).unwrap_or(&absolute);
    inside.to_str().map(str::to_owned).with_context(|| format!("the path {} is not UTF-8", absolute.display()))
}

pub(super) fn remove(arguments: &RemoveArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let path = &file(settings)?.path;
    let mut draft = Draft::open(path)?;
    for camera in &arguments.cameras {
        if !draft.remove(camera.as_str())? {
            return Err(Usage(format!("there is no camera {camera} in {}; nothing was changed", path.display())).into());
        }
    }
    draft.save()?;
    let names: Vec<_> = arguments.cameras.iter().map(CameraId::as_str).collect();
    output.result(&format!("removed {} from {}", names.join(", "), path.display()));
    output.summary("cameras", json!({ "action": "remove", "cameras": names, "file": path.display().to_string() }));
    Ok(Outcome::Done)
}
