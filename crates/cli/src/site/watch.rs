//! Notices that the settings file has changed.

use crate::site::Site;
use crate::site::check::read_text;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The content is compared, not the time stamp: that one can be restored, coarse, or wrong on a network disk.
const INTERVAL: Duration = Duration::from_secs(1);

/// A settings file and what was last read from it.
#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    /// What was looked at last, taken or not; `None`: it could not be read.
    seen: Option<String>,
    due: Instant,
    /// It was not there the last time: an editor may be about to put the new one in its place.
    was_missing: bool,
}

impl Watch {
    /// From the file as it is now.
    pub(crate) fn new(path: &Path) -> Self {
        let due = Instant::now() + INTERVAL;
        Self { path: path.to_owned(), seen: read_text(path).ok(), due, was_missing: false }
    }

    /// What the file says, when it is another than the last time; looked at once a second, or at once when asked to.
    pub(crate) fn poll(&mut self, is_asked: bool) -> Option<anyhow::Result<Site>> {
        let now = Instant::now();
        if now < self.due && !is_asked {
            return None;
        }
        self.due = now + INTERVAL;
        match read_text(&self.path) {
            Ok(text) => {
                self.was_missing = false;
                let is_known = self.seen.as_ref() == Some(&text);
                if is_known && !is_asked {
                    return None;
                }
                let site = Site::parse(&self.path, &text).map_err(anyhow::Error::from);
                self.seen = Some(text);
                Some(site)
            }
            Err(error) => {
                let is_told = self.seen.is_none() && self.was_missing;
                let is_second = std::mem::replace(&mut self.was_missing, true);
                if is_asked || (is_second && !is_told) {
                    self.seen = None;
                    return Some(Err(error));
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn look(watch: &mut Watch) -> Option<anyhow::Result<Site>> {
        watch.due = Instant::now();
        watch.poll(false)
    }

    #[test]
    fn a_change_is_told_once_and_a_missing_file_on_the_second_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lumenbus.toml");
        fs::write(&path, "[log]\n").unwrap();
        let mut watch = Watch::new(&path);
        assert!(look(&mut watch).is_none());
        fs::write(&path, "[log]\nlevel = \"info\"\n").unwrap();
        assert_eq!(look(&mut watch).unwrap().unwrap().log.level.as_deref(), Some("info"));
        assert!(look(&mut watch).is_none());
        fs::write(&path, "[lgo]\n").unwrap();
        let wrong = look(&mut watch).unwrap().unwrap_err().to_string();
        assert!(wrong.contains("line 1") && wrong.contains("lgo"), "{wrong}");
        assert!(look(&mut watch).is_none());

        fs::remove_file(&path).unwrap();
        assert!(look(&mut watch).is_none(), "it may be on its way");
        assert!(look(&mut watch).unwrap().is_err());
        assert!(look(&mut watch).is_none());
        fs::write(&path, "[lgo]\n").unwrap();
        assert!(look(&mut watch).unwrap().is_err());
        fs::write(&path, "[log]\n").unwrap();
        assert!(look(&mut watch).unwrap().is_ok());
        assert!(watch.poll(false).is_none());
        assert!(watch.poll(true).unwrap().is_ok(), "who asks is answered at once");
    }
}
