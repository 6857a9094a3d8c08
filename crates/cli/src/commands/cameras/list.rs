//! `lumenbus cameras list`.

use super::file;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::site::codec_name;
use clap::Args;
use lumenbus_bus::{BusConfig, BusError, Directory};
use lumenbus_frame::CameraId;
use lumenbus_pipeline::fleet::CameraConfig;
use lumenbus_wire::{CameraEntry, StreamEntry};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub(super) struct ListArguments {}

/// One line.
struct Row<'a> {
    id: &'a CameraId,
    configured: Option<&'a CameraConfig>,
    entry: Option<&'a CameraEntry>,
}

type Entries = BTreeMap<CameraId, CameraEntry>;

pub(super) fn run(_arguments: &ListArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let site = file(settings)?;
    let (entries, trouble) = match directory(&settings.bus) {
        Ok(entries) => (Some(entries), None),
        Err(error) => (None, Some(error)),
    };
    let rows = rows(&site.cameras, entries.as_ref());
    print(&rows, entries.is_some(), output);
    for row in &rows {
        output.object("camera", row.json());
    }
    if let Some(error) = &trouble {
        output.note(&format!("only what is configured is shown: {error}"));
    }
    output.summary(
        "cameras",
        json!({
            "action": "list", "file": site.path.display().to_string(), "configured": site.cameras.len(),
            "directory": entries.as_ref().map(BTreeMap::len), "directory_error": trouble.map(|error| error.to_string()),
        }),
    );
    Ok(Outcome::Done)
}

fn directory(bus: &BusConfig) -> Result<Entries, BusError> {
    Ok(Directory::open_reading(bus)?.cameras().into_iter().collect())
}

/// The file's order, then cameras that others publish.
fn rows<'a>(cameras: &'a [CameraConfig], entries: Option<&'a Entries>) -> Vec<Row<'a>> {
    let entry = |id| entries.and_then(|entries| entries.get(id));
    let configured =
        cameras.iter().map(|camera| Row { id: &camera.id, configured: Some(camera), entry: entry(&camera.id) });
    let is_ours = |id: &CameraId| cameras.iter().any(|camera| camera.id == *id);
    let others = entries.into_iter().flatten().filter(|(id, _)| !is_ours(id));
    configured.chain(others.map(|(id, entry)| Row { id, configured: None, entry: Some(entry) })).collect()
}

impl Row<'_> {
    fn name(&self) -> &str {
        let configured = self.configured.and_then(|camera| camera.name.as_deref());
        configured.or(self.entry.map(|entry| entry.name.as_str())).unwrap_or_default()
    }

    fn group(&self) -> &str {
        let configured = self.configured.and_then(|camera| camera.group.as_deref());
        configured.or(self.entry.map(|entry| entry.group.as_str())).unwrap_or_default()
    }

    fn codec(&self) -> String {
        let configured =
            self.configured.and_then(|camera| codec_name(camera.codec)).filter(|name| *name != "passthrough");
        let published = || self.newest().map(|stream| stream.codec.to_string());
        configured.map(str::to_owned).or_else(published).unwrap_or_else(|| "-".to_owned())
    }

    /// Of the streams of this name (of all, where none is configured) the one that was written last.
    fn newest(&self) -> Option<&StreamEntry> {
        let is_ours = |stream: &&StreamEntry| self.configured.is_none_or(|camera| camera.stream == stream.name);
        self.entry?.streams.iter().filter(is_ours).max_by_key(|stream| stream.updated_unix_nanos)
    }

    /// `gate`, `gate/sub`
    fn shown_id(&self) -> String {
        let other = self.configured.map(|camera| &camera.stream).filter(|name| !name.is_main());
        other.map_or_else(|| self.id.to_string(), |name| format!("{}/{name}", self.id))
    }

    fn state(&self, is_directory_known: bool) -> &'static str {
        match (self.configured, self.newest()) {
            (Some(camera), _) if !camera.enabled => "disabled",
            (_, Some(stream)) => stream.state.as_str(),
            (_, None) if is_directory_known => "never seen",
            (_, None) => "unknown",
        }
    }

    fn source(&self) -> String {
        self.configured.map_or_else(|| "(not in this file)".to_owned(), |camera| camera.source.to_string())
    }

    fn json(&self) -> Value {
        let stream = |stream: &StreamEntry| {
            json!({
                "topic": stream.topic.as_str(), "stream": stream.name.as_str(), "partition": stream.partition,
                "epoch": stream.epoch.to_string(), "codec": stream.codec.to_string(), "state": stream.state.as_str(),
            })
        };
        let labels = |labels: &[(String, String)]| -> Value {
            labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
        };
        json!({
            "camera": self.id.as_str(), "name": self.name(), "group": self.group(),
            "stream": self.configured.map(|camera| camera.stream.as_str()),
            "source": self.configured.map(|camera| camera.source.to_string()),
            "enabled": self.configured.map(|camera| camera.enabled),
            "codec": self.configured.and_then(|camera| codec_name(camera.codec)),
            "loop": self.configured.map(|camera| camera.is_looped),
            "labels": self.configured.map(|camera| labels(&camera.labels)),
            "streams": self.entry.map(|entry| entry.streams.iter().map(stream).collect::<Vec<_>>()),
        })
    }
}

fn print(rows: &[Row<'_>], is_directory_known: bool, output: &mut Output) {
    if rows.is_empty() {
        output.result("no camera; add one with `lumenbus cameras add ID SOURCE`");
        return;
    }
    let cells: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            let [name, group] = [row.name(), row.group()].map(str::to_owned);
            [row.shown_id(), row.state(is_directory_known).to_owned(), row.codec(), name, group, row.source()]
        })
        .collect();
    output.columns(["CAMERA", "STATE", "CODEC", "NAME", "GROUP", "SOURCE"], &cells);
}
