//! Notices that the settings file has changed, or the folder of videos that it names.

use crate::site::Site;
use crate::site::check::read_text;
use crate::site::folder::videos;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The content is compared, not the time stamp: that one can be restored, coarse, or wrong on a network disk.
const INTERVAL: Duration = Duration::from_secs(1);

/// A settings file and what was last read from it.
#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    /// What was looked at last, taken or not; `None`: it could not be read.
    seen: Option<String>,
    /// The folder of videos, and what was in it; `None`: it could not be read.
    folder: Option<(PathBuf, Option<Vec<PathBuf>>)>,
    due: Instant,
    /// It was not there the last time: an editor may be about to put the new one in its place.
    was_missing: bool,
}

impl Watch {
    /// From the file as it is now, and the folder as the settings have it.
    pub(crate) fn new(site: &Site) -> Self {
        let (due, path) = (Instant::now() + INTERVAL, site.path.clone());
        Self { seen: read_text(&path).ok(), path, folder: watched(site), due, was_missing: false }
    }

    /// Whether the folder holds other files than the last time.
    fn is_folder_new(&mut self) -> bool {
        self.folder.as_mut().is_some_and(|(folder, seen)| {
            let now = videos(folder).ok();
            let is_new = now != *seen;
            *seen = now;
            is_new
        })
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
                let is_known = self.seen.as_ref() == Some(&text) && !self.is_folder_new();
                if is_known && !is_asked {
                    return None;
                }
                let site = Site::parse(&self.path, &text).map_err(anyhow::Error::from);
                self.seen = Some(text);
                if let Ok(site) = &site {
                    self.folder = watched(site);
                }
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

fn watched(site: &Site) -> Option<(PathBuf, Option<Vec<PathBuf>>)> {
    site.folder.as_ref().map(|folder| (folder.path.clone(), Some(folder.files.clone())))
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
        let mut watch = Watch::new(&Site::read(&path).unwrap());
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

    #[test]
    fn videos_that_come_and_go_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (path, clips) = (folder.path().join("lumenbus.toml"), folder.path().join("clips"));
        fs::create_dir(&clips).unwrap();
        fs::write(clips.join("gate.mp4"), "x").unwrap();
        fs::write(&path, "[fleet]\nfolder = \"clips\"\n").unwrap();
        let site = Site::read(&path).unwrap();
        let ids = |site: &Site| site.cameras.iter().map(|camera| camera.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&site), ["gate"]);
        let mut watch = Watch::new(&site);
        assert!(look(&mut watch).is_none());
        fs::write(clips.join("yard.mp4"), "x").unwrap();
        assert_eq!(ids(&look(&mut watch).unwrap().unwrap()), ["gate", "yard"]);
        fs::remove_file(clips.join("gate.mp4")).unwrap();
        assert_eq!(ids(&look(&mut watch).unwrap().unwrap()), ["yard"]);
        fs::remove_dir_all(&clips).unwrap();
        let gone = look(&mut watch).unwrap().unwrap_err().to_string();
        assert!(gone.contains("line 2: [fleet] folder: cannot read the folder"), "{gone}");
        assert!(look(&mut watch).is_none(), "told once");
        fs::create_dir(&clips).unwrap();
        assert!(ids(&look(&mut watch).unwrap().unwrap()).is_empty());
    }
}
