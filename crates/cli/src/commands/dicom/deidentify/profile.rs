//! The project's key and profile, as they are given to a command.

use crate::exit::Usage;
use anyhow::Context as _;
use clap::Args;
use lumenbus_dicom::deid::{Deidentifier, Profile, ProfileOption, ProjectKey};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as ValueError, StrDeserializer};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Holds the key where no file is named.
const KEY: &str = "LUMENBUS_DEID_KEY";
/// Larger files are no keys and no profiles.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct ProfileOptions {
    /// File of the project's key, 32 bytes in hexadecimal; made on first use [or the key itself in LUMENBUS_DEID_KEY]
    #[arg(long, env = "LUMENBUS_DEID_KEY_FILE", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Profile in TOML: options, `shift_range_days`, `descriptor_words`, `trust_declared_no`, [[masks]]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Option beside the basic profile: retain-safe-private, retain-uids, retain-device-identity,
    /// retain-institution-identity, retain-patient-characteristics, retain-full-dates, retain-modified-dates,
    /// clean-descriptors, clean-structured-content
    #[arg(long = "option", value_parser = option, value_name = "NAME")]
    options: Vec<ProfileOption>,
}

fn option(name: &str) -> Result<ProfileOption, String> {
    let name: StrDeserializer<'_, ValueError> = name.into_deserializer();
    ProfileOption::deserialize(name).map_err(|_| "not an option of PS3.15, annex E.3; see --help".to_owned())
}

/// Where the key came from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SharedKey {
    WasThere,
    Made(PathBuf),
}

impl ProfileOptions {
    pub(super) fn engine(&self) -> anyhow::Result<(Deidentifier, SharedKey)> {
        let mut profile = match &self.profile {
            None => Profile::default(),
            Some(path) => {
                let text = String::from_utf8(read(path)?).with_context(|| format!("{} is no text", path.display()))?;
                toml::from_str(&text).map_err(|error| Usage(format!("{}: {error}", path.display())))?
            }
        };
        profile.options.extend(&self.options);
        let (key, origin) = self.key()?;
        let engine = Deidentifier::new(key, profile).map_err(|error| Usage(error.to_string()))?;
        Ok((engine, origin))
    }

    fn key(&self) -> anyhow::Result<(ProjectKey, SharedKey)> {
        let variable = std::env::var(KEY).ok().filter(|text| !text.is_empty());
        match (&self.key, variable) {
            (Some(path), _) => match read_key(path) {
                Ok(key) => Ok((key, SharedKey::WasThere)),
                Err(error) if is_missing(&error) => Ok((make_key(path)?, SharedKey::Made(path.clone()))),
                Err(error) => Err(error),
            },
            (None, Some(text)) => Ok((parse(text.trim(), KEY)?, SharedKey::WasThere)),
            (None, None) => {
                Err(Usage(format!("name the project's key by --key (a missing file is made), or set {KEY}")).into())
            }
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).with_context(failed)?;
    anyhow::ensure!(bytes.len() as u64 <= MAX_FILE_BYTES, "{} is too large", path.display());
    Ok(bytes)
}

fn read_key(path: &Path) -> anyhow::Result<ProjectKey> {
    let bytes = read(path)?;
    let mode = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(Usage(format!("{path} may be read by others, and holds a secret; say `chmod 600 {path}`")).into());
    }
    parse(String::from_utf8_lossy(&bytes).trim(), &path.display().to_string())
}

/// The text is a secret, and not repeated.
fn parse(text: &str, origin: &str) -> anyhow::Result<ProjectKey> {
    let digits = || Usage(format!("{origin} is not 64 hexadecimal digits; `openssl rand -hex 32` makes a key"));
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(digits().into());
    }
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
    let bytes = (0..64).step_by(2).map(pair).collect::<Result<Vec<_>, _>>().map_err(|_| digits())?;
    Ok(ProjectKey::from_bytes(&bytes).map_err(|error| Usage(error.to_string()))?)
}

/// A second process that makes the same file at the same time fails here, instead of having another key.
fn make_key(path: &Path) -> anyhow::Result<ProjectKey> {
    let failed = || format!("cannot make the key {}", path.display());
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes).with_context(failed)?;
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(failed)?;
    writeln!(file, "{}", super::hex(&bytes)).and_then(|()| file.sync_all()).with_context(failed)?;
    Ok(ProjectKey::from_bytes(&bytes).map_err(|error| Usage(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("project.key");
        let options = ProfileOptions { key: Some(path.clone()), profile: None, options: Vec::new() };
        assert_eq!(options.engine().unwrap().1, SharedKey::Made(path.clone()));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(options.engine().unwrap().1, SharedKey::WasThere);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(options.engine().unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn what_is_no_key_is_told_without_repeating_it() {
        let error = parse("5ecret", "x.key").unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits") && !error.contains("5ecret"), "{error}");
    }

    #[test]
    fn options_have_the_standards_names() {
        assert_eq!(option("clean-descriptors"), Ok(ProfileOption::CleanDescriptors));
        assert!(option("keep-everything").is_err());
    }
}
