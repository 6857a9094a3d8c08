//! The note in a data directory that says who wrote it, so that an older version does not misread what a newer one
//! wrote.

use std::fs;
use std::io;
use std::path::Path;

use super::checkpoint::replace_file;
use super::disk::Disk;
use super::error::LogError;

const FILE_NAME: &str = "format";
/// Grows when an older version would misread what this one writes.
const FORMAT: u32 = 1;
/// The first version that reads [`FORMAT`].
const READABLE_FROM: &str = "0.1.0";
const CHECKSUM_KEY: &str = "crc32c=";

/// Refuses a directory of a newer format; notes the own one otherwise. A damaged note is written anew.
pub(crate) fn claim(disk: &dyn Disk, data_dir: &Path) -> Result<(), LogError> {
    let path = data_dir.join(FILE_NAME);
    let present = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(LogError::storage("read", path)(error)),
    };
    let own = note(FORMAT, env!("CARGO_PKG_VERSION"), READABLE_FROM);
    if present == own {
        return Ok(());
    }
    if let Some((format, written_by, readable_from)) = parse(&present)
        && format > FORMAT
    {
        return Err(LogError::NewerFormat { path: data_dir.to_owned(), written_by, readable_from });
    }
    replace_file(disk, &path, own.as_bytes())
}

fn note(format: u32, written_by: &str, readable_from: &str) -> String {
    let text = format!("format={format}\nwritten.by={written_by}\nreadable.from={readable_from}\n");
    format!("{text}{CHECKSUM_KEY}{:08x}\n", crc32c::crc32c(text.as_bytes()))
}

/// Format, writer and first reader; newer versions may say more.
fn parse(text: &str) -> Option<(u32, String, String)> {
    let (contents, sum) = text.rsplit_once(CHECKSUM_KEY)?;
    if sum.trim_end() != format!("{:08x}", crc32c::crc32c(contents.as_bytes())) {
        return None;
    }
    let value = |key: &str| contents.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Some((value("format")?.parse().ok()?, value("written.by")?.to_owned(), value("readable.from")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SystemDisk;

    #[test]
    fn a_newer_format_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let newer = note(FORMAT + 1, "9.1.0", "9.0.0");
        fs::write(dir.path().join(FILE_NAME), &newer).unwrap();
        let error = claim(&SystemDisk, dir.path()).unwrap_err().to_string();
        assert!(error.contains("9.1.0") && error.contains("9.0.0 or newer"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(), newer);
    }

    #[test]
    fn missing_damaged_and_older_notes_are_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let own = note(FORMAT, env!("CARGO_PKG_VERSION"), READABLE_FROM);
        let damaged = note(FORMAT + 1, "9.1.0", "9.0.0").replace("9.1", "9.2");
        for present in [None, Some(damaged), Some(note(FORMAT, "0.0.9", "0.0.9")), Some(own.clone())] {
            if let Some(text) = present {
                fs::write(dir.path().join(FILE_NAME), text).unwrap();
            }
            claim(&SystemDisk, dir.path()).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(), own);
        }
    }
}
