//! The options of every command that runs a viewer, and what they mean.

use crate::exit::Usage;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;
use lumenbus_pipeline::fleet::{CameraState, CameraStatus, Fleet};
use lumenbus_web::{ConfiguredCamera, TlsConfig, Token, Viewer, ViewerConfig};
use serde_json::json;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Tried after the default port when it is taken.
const NEXT_PORTS: u16 = 20;

/// Options of the viewer.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ViewerOptions {
    /// Where the page is; beyond loopback a token is needed [default: 127.0.0.1:8980, or the next free port]
    #[arg(long, value_name = "ADDR", env = "LUMENBUS_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// A file that holds the token; without it one is made where it is needed
    #[arg(long, value_name = "FILE", env = "LUMENBUS_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Encrypt: self-signed, or cert=FILE,key=FILE (PEM)
    #[arg(long, value_name = "HOW", value_parser = https, env = "LUMENBUS_HTTPS")]
    pub(crate) https: Option<Https>,
    /// A further name under which the page may be opened, such as that of a proxy; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Don't open a browser
    #[arg(long)]
    pub(crate) no_browser: bool,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Https {
    SelfSigned,
    Files { certificate: PathBuf, key: PathBuf },
}

/// `self-signed`, or `cert=FILE,key=FILE` in either order.
pub(crate) fn https(text: &str) -> Result<Https, String> {
    if text == "self-signed" {
        return Ok(Https::SelfSigned);
    }
    let wrong = || "write self-signed, or cert=FILE,key=FILE".to_owned();
    let (one, two) = text.split_once(',').ok_or_else(wrong)?;
    let part = |name: &str| {
        let parts = [one, two].into_iter();
        parts.filter_map(|part| part.strip_prefix(name)).find(|file| !file.is_empty()).map(PathBuf::from)
    };
    match (part("cert="), part("key=")) {
        (Some(certificate), Some(key)) => Ok(Https::Files { certificate, key }),
        _ => Err(wrong()),
    }
}

/// What the options mean: a viewer of this bus. The caller adds cameras, actions and what else it has.
pub(crate) fn viewer_config(options: &ViewerOptions, settings: &Settings) -> anyhow::Result<ViewerConfig> {
    let mut config = ViewerConfig::new(settings.bus.clone());
    match options.listen {
        Some(listen) => config.listen = listen,
        None => config.try_next_ports = NEXT_PORTS,
    }
    config.token = token(options.token_file.as_deref(), config.listen)?;
    config.tls = options.https.clone().map(|https| match https {
        Https::SelfSigned => TlsConfig::SelfSigned { folder: state_folder() },
        Https::Files { certificate, key } => TlsConfig::Files { certificate, key },
    });
    config.allowed_hosts.clone_from(&options.allow_host);
    Ok(config)
}

/// The file's token; where none is given and others can connect, a new one.
fn token(file: Option<&Path>, listen: SocketAddr) -> Result<Option<Token>, Usage> {
    match file {
        Some(file) => Token::read(file).map(Some).map_err(|error| Usage(error.to_string())),
        None => Ok((!listen.ip().is_loopback()).then(Token::generate)),
    }
}

/// Where a program may keep what is its own, by the XDG base directory specification.
fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    base.map(|base| base.join("lumenbus"))
}

/// The cameras of a fleet, also those that never gave a frame.
pub(crate) fn configured(fleet: &Fleet) -> Vec<ConfiguredCamera> {
    let camera = |camera: CameraStatus| {
        let is_failed = matches!(camera.state, CameraState::Failed { .. });
        let trouble = camera.state.reason().filter(|_| is_failed).map(ToString::to_string);
        ConfiguredCamera { id: camera.id, name: camera.name, group: camera.group, trouble }
    };
    let mut cameras: Vec<_> = fleet.status().into_iter().map(camera).collect();
    // Streams of one camera stand one behind the other; the first with a trouble tells it.
    cameras.dedup_by(|other, first| {
        let is_same = other.id == first.id;
        if is_same && first.trouble.is_none() {
            first.trouble = other.trouble.take();
        }
        is_same
    });
    cameras
}

/// Tells where the viewer is, and opens a browser where somebody sits in front of it.
pub(crate) fn announce(viewer: &Viewer, options: &ViewerOptions, output: &mut Output) {
    output.object("viewer", json!({ "url": viewer.url(), "listen": viewer.addr().to_string() }));
    output.result(&viewer.start_message());
    let has_person = std::io::stdout().is_terminal() && std::io::stderr().is_terminal() && !output.is_json();
    if has_person && !options.no_browser && has_screen() {
        // It is on the screen anyway.
        drop(open::that_detached(viewer.url()));
    }
}

/// On Unix without a display, a "browser" would be a text program that takes the terminal over.
fn has_screen() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(all(unix, not(target_os = "macos"))) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_there_is_a_token_each_time_another() {
        let made = |listen: &str| token(None, listen.parse().unwrap()).unwrap();
        assert!(made("127.0.0.1:8980").is_none() && made("[::1]:8980").is_none());
        let tokens = ["0.0.0.0:8980", "[::]:8980", "192.0.2.1:80"].map(|listen| made(listen).unwrap());
        assert!(tokens.iter().all(|token| token.secret().len() == 64));
        assert_ne!(tokens[0], tokens[1]);
    }

    #[test]
    fn ways_to_encrypt() {
        assert_eq!(https("self-signed"), Ok(Https::SelfSigned));
        let files = Https::Files { certificate: "a.pem".into(), key: "b.pem".into() };
        assert_eq!(https("cert=a.pem,key=b.pem"), Ok(files.clone()));
        assert_eq!(https("key=b.pem,cert=a.pem"), Ok(files));
        for text in ["", "yes", "cert=a", "cert=a,key=", "cert=a,cert=b", "a,b"] {
            assert!(https(text).is_err(), "{text}");
        }
    }
}
