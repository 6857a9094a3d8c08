//! User and password of cameras: from files and the environment, never from a command line.

use crate::exit::Usage;
use anyhow::Context as _;
use clap::Args;
use lumenbus_source::{CameraAddress, Credentials};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A password file may be no larger.
const MAX_FILE_BYTES: u64 = 4096;
/// Holds the password where no file is named.
pub(crate) const PASSWORD: &str = "LUMENBUS_CAMERA_PASSWORD";

/// Who asks a camera on the network.
#[derive(Debug, Args)]
pub(crate) struct CredentialOptions {
    /// User of a camera on the network
    #[arg(long, env = "LUMENBUS_CAMERA_USERNAME", value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// File whose first line is the user's password [or the password itself in LUMENBUS_CAMERA_PASSWORD]
    #[arg(long, env = "LUMENBUS_CAMERA_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

impl CredentialOptions {
    /// What is to be told to cameras; `None` where nobody is named.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Credentials>> {
        self.meaning(None, std::env::var(PASSWORD).ok())
    }

    /// What is to be told to the camera at this address, whose user may be named there; `None` where the address says it
    /// all.
    pub(crate) fn read_for(&self, address: &str) -> anyhow::Result<Option<Credentials>> {
        let address = CameraAddress::parse(address).ok();
        self.meaning(address.as_ref().and_then(CameraAddress::credentials), std::env::var(PASSWORD).ok())
    }

    fn meaning(&self, named: Option<&Credentials>, variable: Option<String>) -> anyhow::Result<Option<Credentials>> {
        let named = named.filter(|named| !named.username.is_empty());
        // What is told on the command line goes before the address; what merely stands in the environment does not.
        let is_complete = named.is_some_and(|named| !named.password.is_empty());
        let variable = variable.filter(|_| self.username.is_some() || !is_complete);
        let has_password = self.password_file.is_some() || variable.as_ref().is_some_and(|word| !word.is_empty());
        let user = match (&self.username, named) {
            (Some(user), _) => user,
            (None, _) if !has_password => return Ok(None),
            (None, Some(named)) => &named.username,
            (None, None) => {
                let why = format!(
                    "a password by --password-file or {PASSWORD} needs its user; name it by --username, or leave the password out"
                );
                return Err(Usage(why).into());
            }
        };
        let password = match &self.password_file {
            Some(file) => password_in(file)?,
            None => variable.unwrap_or_default(),
        };
        Ok(Some(Credentials { username: user.clone(), password }))
    }
}

/// The password in a file.
pub(crate) fn password_in(file: &Path) -> anyhow::Result<String> {
    first_line(file, "password")
}

/// The first line of a file.
pub(crate) fn first_line(file: &Path, what: &str) -> anyhow::Result<String> {
    let failed = || format!("cannot read the {what} file {}", file.display());
    let mut text = String::new();
    let open = std::fs::File::open(file).with_context(failed)?;
    open.take(MAX_FILE_BYTES).read_to_string(&mut text).with_context(failed)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_a_user_or_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate.password");
        std::fs::write(&file, "by file").unwrap();
        let meaning = |username: Option<&str>, file: Option<&PathBuf>, variable: Option<&str>, address: &str| {
            let options = CredentialOptions { username: username.map(str::to_owned), password_file: file.cloned() };
            let address = CameraAddress::parse(address).unwrap();
            let meant = options.meaning(address.credentials(), variable.map(str::to_owned))?;
            anyhow::Ok(meant.map(|meant| format!("{} {}", meant.username, meant.password)))
        };
        let meant = |username, file, variable, address| meaning(username, file, variable, address).unwrap();
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(meant(Some("me"), Some(&file), Some("by variable"), "rtsp://you:x@cam/1"), said("me by file"));
        assert_eq!(meant(Some("me"), None, Some("by variable"), "rtsp://you:x@cam/1"), said("me by variable"));
        assert_eq!(meant(Some("me"), None, None, "rtsp://cam/1"), said("me "));
        assert_eq!(meant(None, Some(&file), None, "rtsp://you@cam/1"), said("you by file"));
        assert_eq!(meant(None, Some(&file), None, "rtsp://you:x@cam/1"), said("you by file"));
        assert_eq!(meant(None, None, Some("by variable"), "rtsp://you@cam/1"), said("you by variable"));
        assert_eq!(meant(None, None, Some("by variable"), "rtsp://you:x@cam/1"), None);
        assert_eq!(meant(None, None, Some(""), "rtsp://cam/1"), None);
        assert_eq!(meant(None, None, None, "rtsp://cam/1"), None);
        for (file, variable) in [(Some(&file), None), (None, Some("by variable"))] {
            for address in ["rtsp://cam/1", "rtsp://:x@cam/1"] {
                let error = meaning(None, file, variable, address).unwrap_err();
                assert!(error.is::<Usage>() && error.to_string().contains("--username"), "{address}: {error}");
            }
        }
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate.password");
        std::fs::write(&file, "pass word \r\nnote\n").unwrap();
        let mut options = CredentialOptions { username: Some("admin".to_owned()), password_file: Some(file) };
        let read = options.read().unwrap().unwrap();
        assert_eq!((read.username.as_str(), read.password.as_str()), ("admin", "pass word "));
        options.password_file = Some(folder.path().join("absent"));
        assert!(options.read().unwrap_err().to_string().contains("absent"));
    }
}
