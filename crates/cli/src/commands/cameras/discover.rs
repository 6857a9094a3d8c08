//! `lumenbus cameras discover`.

use crate::credentials::{CredentialOptions, PASSWORD};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::{signals, units};
use anyhow::Context as _;
use clap::Args;
use lumenbus_source::discover::{Device, Discovered, Discovery, DiscoveryConfig, Profile, Progress, ask, discover};
use lumenbus_source::{Interrupt, LocalDevice, local_devices};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Longest id made of a name.
const MAX_ID_BYTES: usize = 40;
/// A clock further off is worth a word.
const CLOCK_SECONDS: i64 = 2;

#[derive(Debug, Args)]
#[command(
    after_help = "Devices of this machine (/dev/video0) are listed first. Cameras are asked by multicast through the interface that the system chooses; --interface names another one by its address.\nWith a user and a password the cameras also tell where their streams are. Each camera gets a hash of the password.\n\nExamples:\n  lumenbus cameras discover\n  lumenbus cameras discover --interface 10.20.0.1 --for 10s\n  lumenbus cameras discover --username viewer --password-file cameras.password"
)]
pub(super) struct DiscoverArguments {
    /// Listen for this time
    #[arg(long = "for", value_parser = units::positive_duration, default_value = "3s", value_name = "TIME")]
    duration: Duration,
    /// Address of the interface to ask through [default: the system's choice]
    #[arg(long, value_name = "ADDR")]
    interface: Option<Ipv4Addr>,
    /// End as soon as so many cameras have answered
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    count: Option<u16>,
    #[command(flatten)]
    credentials: CredentialOptions,
}

pub(super) fn run(arguments: &DiscoverArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let credentials = arguments.credentials.read()?;
    let shutdown = signals::shutdown(settings.quiet)?;
    let requested = Arc::clone(&shutdown);
    let interrupt = Interrupt::new(move || requested.is_requested());
    let config = DiscoveryConfig {
        interface: arguments.interface.unwrap_or(Ipv4Addr::UNSPECIFIED),
        wait: arguments.duration,
        enough: arguments.count.map(usize::from),
        interrupt: interrupt.clone(),
    };
    let (mut ids, who) = (HashSet::new(), who(&arguments.credentials));
    let local = local_devices();
    for device in &local {
        show_local(device, &mut ids, output);
    }
    let found = discover(&config, |progress| match progress {
        Progress::Asked => output.note("asked; waiting for late answers and for cameras that announce themselves"),
        Progress::Found(count) => output.progress(|| format!("{count} cameras have answered")),
        _ => {}
    });
    let found = found.context("cannot look for cameras; name an address of this machine by --interface")?;
    output.progress(|| format!("asking {} cameras what they are", found.cameras.len()));
    let devices = ask(&found.cameras, credentials.as_ref(), &interrupt)?;
    for (camera, device) in found.cameras.iter().zip(&devices) {
        let told = Told::new(camera, device, &who, &mut ids);
        told.show(output);
    }
    tell(&found, local.len(), output);
    Ok(if shutdown.is_requested() { Outcome::Interrupted } else { Outcome::Done })
}

/// A camera as it is shown.
struct Told<'a> {
    camera: &'a Discovered,
    device: &'a Device,
    title: String,
    command: String,
}

impl<'a> Told<'a> {
    fn new(camera: &'a Discovered, device: &'a Device, who: &str, ids: &mut HashSet<String>) -> Self {
        let name = camera.announcement.scope("name");
        let sender = camera.senders.first().map_or_else(String::new, ToString::to_string);
        let title = name.clone().unwrap_or_else(|| sender.clone());
        let mut command = command(&unused_id(&title, ids), name.as_deref(), &sender, &device.streams);
        if !device.streams.is_empty() {
            command.push_str(who);
        }
        Self { camera, device, title, command }
    }

    fn show(&self, output: &mut Output) {
        output.result(&self.title);
        for (name, text) in self.facts() {
            output.result(&format!("  {name:<10}{text}"));
        }
        output.result(&format!("  {}", self.command));
        output.object("camera", self.json());
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let (said, device) = (&self.camera.announcement, self.device);
        let senders: Vec<_> = self.camera.senders.iter().map(ToString::to_string).collect();
        let mut facts = vec![("address", senders.join(", "))];
        facts.extend(said.scope("hardware").map(|hardware| ("hardware", hardware)));
        facts.extend(said.scope("location").map(|place| ("location", place)));
        facts.extend(said.addresses.iter().map(|address| ("service", visible(address))));
        if let Some(information) = &device.information {
            let (maker, model) = (&information.manufacturer, &information.model);
            let firmware = Some(&information.firmware).filter(|firmware| !firmware.is_empty());
            let firmware = firmware.map_or_else(String::new, |firmware| format!(", firmware {firmware}"));
            facts.push(("device", format!("{maker} {model}{firmware}")));
        }
        if let Some(offset) = device.clock_offset.filter(|offset| offset.abs() >= CLOCK_SECONDS) {
            facts.push(("clock", format!("{offset:+} s from this machine's")));
        }
        for stream in &device.streams {
            let uri = stream.uri.as_deref().unwrap_or_default();
            facts.push(("stream", format!("{uri}  {} {}x{}", stream.encoding, stream.width, stream.height)));
        }
        facts.extend(device.fault.as_ref().map(|fault| ("streams?", fault.to_string())));
        facts
    }

    fn json(&self) -> Value {
        let (said, device) = (&self.camera.announcement, self.device);
        let information = device.information.as_ref();
        let streams: Vec<_> = device.streams.iter().map(stream_json).collect();
        json!({
            "endpoint": said.endpoint, "name": said.scope("name"), "hardware": said.scope("hardware"),
            "location": said.scope("location"), "types": said.types, "addresses": self.camera.senders,
            "services": said.addresses, "manufacturer": information.map(|information| &information.manufacturer),
            "model": information.map(|information| &information.model),
            "firmware": information.map(|information| &information.firmware),
            "serial": information.map(|information| &information.serial),
            "clock_offset_seconds": device.clock_offset, "streams": streams, "add": self.command,
            "fault": device.fault.as_ref().map(ToString::to_string),
        })
    }
}

fn stream_json(stream: &Profile) -> Value {
    json!({
        "profile": stream.token, "name": stream.name, "codec": stream.encoding, "width": stream.width,
        "height": stream.height, "url": stream.uri,
    })
}

/// A device of this machine; what it calls itself may be anything.
fn show_local(device: &LocalDevice, ids: &mut HashSet<String>, output: &mut Output) {
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
    let card = plain(&device.card);
    let title = if card.is_empty() { device.path.clone() } else { card };
    let command = format!("lumenbus cameras add {} {}", unused_id(&title, ids), quoted(&device.path));
    output.result(&title);
    output.result(&format!("  {:<10}{}", "device", device.path));
    match &device.formats {
        Ok(formats) => formats.iter().for_each(|line| output.result(&format!("  {:<10}{}", "gives", plain(line)))),
        Err(why) => output.result(&format!("  {:<10}{}", "fault", plain(why))),
    }
    output.result(&format!("  {command}"));
    let (formats, fault) = (device.formats.as_ref().ok(), device.formats.as_ref().err());
    output.object(
        "device",
        json!({
            "path": device.path, "name": device.card, "driver": device.driver, "formats": formats, "fault": fault,
            "add": command,
        }),
    );
}

/// As it came, but on one line.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// What adds the camera: its largest stream, and its smallest as the second one. Without streams a path is left to fill in.
fn command(id: &str, name: Option<&str>, sender: &str, streams: &[Profile]) -> String {
    let uris: Vec<_> = streams.iter().filter_map(|stream| stream.uri.as_deref()).collect();
    let host = if sender.contains(':') { format!("[{sender}]") } else { sender.to_owned() };
    let main = uris.first().map_or_else(|| format!("rtsp://{host}/PATH"), |&uri| uri.to_owned());
    let mut command = format!("lumenbus cameras add {id} {}", quoted(&main));
    if let [_, .., sub] = uris[..] {
        command.push_str(&format!(" --sub {}", quoted(sub)));
    }
    if let Some(name) = name {
        command.push_str(&format!(" --name={}", quoted(name)));
    }
    command
}

/// How the camera's user is named when it is added; the password itself is not.
fn who(credentials: &CredentialOptions) -> String {
    let Some(username) = &credentials.username else { return String::new() };
    let username = quoted(username);
    let file = credentials.password_file.as_ref().and_then(|file| file.canonicalize().ok());
    match file.as_ref().and_then(|file| file.to_str()) {
        Some(file) => format!(" --username={username} --password-file={}", quoted(file)),
        None => format!(" --username={username} --password-env={PASSWORD}"),
    }
}

/// One word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+' | ',');
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A camera id out of a name, that no other one has.
fn unused_id(name: &str, ids: &mut HashSet<String>) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let lower: String = name.chars().map(letter).take(MAX_ID_BYTES).collect();
    let words: Vec<_> = lower.split('-').filter(|word| !word.is_empty()).collect();
    let id = if words.is_empty() { "camera".to_owned() } else { words.join("-") };
    let numbered = (2..).map(|number| format!("{id}-{number}"));
    let free = std::iter::once(id.clone()).chain(numbered).find(|id| !ids.contains(id)).unwrap_or(id);
    ids.insert(free.clone());
    free
}

fn tell(found: &Discovery, local: usize, output: &mut Output) {
    if found.cameras.is_empty() {
        output.note(
            "no camera answered; multicast stays within one network: name the address of this machine in the cameras' \
             network by --interface, listen longer by --for, and see whether ONVIF is switched on in the cameras",
        );
    }
    if !found.hears_greetings {
        output.note("another program holds port 3702, so cameras that announce themselves were not heard");
    }
    if found.left_out > 0 {
        output.note(&format!("{} answers came from more cameras than are listed", found.left_out));
    }
    output.summary(
        "cameras",
        json!({
            "action": "discover", "cameras": found.cameras.len(), "devices": local, "answers": found.answers,
            "malformed": found.malformed, "others": found.others, "left_out": found.left_out,
            "hears_greetings": found.hears_greetings,
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_of_names_and_each_is_given_once() {
        let mut ids = HashSet::new();
        let given = ["AXIS M3045-V", "axis m3045 v", "Tor Süd", "", "門", &"x".repeat(100)]
            .map(|name| unused_id(name, &mut ids));
        assert_eq!(given[..5], ["axis-m3045-v", "axis-m3045-v-2", "tor-s-d", "camera", "camera-2"]);
        assert!(given.iter().all(|id| id.parse::<lumenbus_frame::CameraId>().is_ok()));
    }

    #[test]
    fn a_name_stays_one_word_of_the_shell() {
        let stream = |uri: &str| Profile { uri: Some(uri.to_owned()), ..Profile::default() };
        let streams = [stream("rtsp://h/a?b=1&c=2"), stream("rtsp://h/mid"), stream("rtsp://h/sub")];
        assert_eq!(
            command("gate", Some("it's; $(reboot) --json"), "10.0.0.7", &streams),
            "lumenbus cameras add gate 'rtsp://h/a?b=1&c=2' --sub rtsp://h/sub --name='it'\\''s; $(reboot) --json'"
        );
        assert_eq!(command("gate", None, "fe80::1", &[]), "lumenbus cameras add gate 'rtsp://[fe80::1]/PATH'");
    }
}
