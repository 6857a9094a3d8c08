//! Two folders, or a folder and the topics, by their files' SHA-256.

use super::folder::sha256_of;
use super::{Files, PassedOver, TransportError, queue};
use crate::layout::Layout;
use crate::record::METADATA_TOPIC;
use lumenbus_bus::BusConfig;
use lumenbus_bus::objects::TopicView;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Hash = [u8; 32];

/// How a file of one side stands to the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The other side has something else under this path.
    Differing(PathBuf),
    /// The right side has its content nowhere. From topics, the name is the file's SHA-256.
    Missing(PathBuf),
    /// The left side has its content nowhere.
    Extra(PathBuf),
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Contents that both sides have.
    pub identical: u64,
    /// Everything else, in order of paths.
    pub differences: Vec<Difference>,
}

/// One side: contents by path.
#[derive(Debug, Default)]
pub struct Side {
    files: BTreeMap<PathBuf, Hash>,
}

impl Side {
    /// Reads all files below a folder; what is passed over is told.
    ///
    /// # Errors
    /// [`TransportError::Read`] and [`TransportError::Nothing`].
    pub fn of_folder(folder: &Path, told: &mut dyn FnMut(PassedOver)) -> Result<Self, TransportError> {
        let mut side = Self::default();
        for found in Files::of(&[folder.to_owned()])? {
            match found {
                Ok(file) => {
                    let unreadable = |source| TransportError::Read { path: file.path.clone(), source };
                    let (_, hash) = sha256_of(&file.path).map_err(unreadable)?;
                    let path = file.path.strip_prefix(folder).unwrap_or(&file.path).to_owned();
                    side.files.insert(path, hash);
                }
                Err(passed) => told(passed),
            }
        }
        Ok(side)
    }

    /// Reads all metadata of the topics. Objects have the paths of the layout where one is given, else their SHA-256.
    ///
    /// # Errors
    /// What is wrong with the brokers.
    pub fn of_topics(bus: &BusConfig, layout: Option<&Layout>) -> Result<Self, TransportError> {
        let view = TopicView::open(bus, bus.topic_prefix.topic(METADATA_TOPIC))?;
        let mut side = Self::default();
        queue::objects(&view, &view.bounds()?, |metadata| {
            let mut path = layout.map_or_else(|| hex(&metadata.file_sha256).into(), |layout| layout.path(metadata));
            if side.files.get(&path).is_some_and(|hash| *hash != metadata.file_sha256)
                && let Some(layout) = layout
            {
                path = layout.path_distinct(metadata);
            }
            side.files.insert(path, metadata.file_sha256);
        })?;
        Ok(side)
    }

    /// What the right side has of the left one's contents, wherever it is, and what else it has.
    #[must_use]
    pub fn compare(&self, right: &Self) -> Comparison {
        let (left_has, right_has) = (self.contents(), right.contents());
        let identical = left_has.intersection(&right_has).count() as u64;
        let mut differences = Vec::new();
        for (path, hash) in self.files.iter().filter(|(_, hash)| !right_has.contains(*hash)) {
            let differs = right.files.get(path).is_some_and(|found| found != hash && !left_has.contains(found));
            differences.push(if differs {
                Difference::Differing(path.clone())
            } else {
                Difference::Missing(path.clone())
            });
        }
        for (path, _) in right.files.iter().filter(|(_, hash)| !left_has.contains(*hash)) {
            let is_told = self.files.get(path).is_some_and(|hash| !right_has.contains(hash));
            if !is_told {
                differences.push(Difference::Extra(path.clone()));
            }
        }
        Comparison { identical, differences }
    }

    fn contents(&self) -> BTreeSet<&Hash> {
        self.files.values().collect()
    }

    /// How many files or objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(files: &[(&str, u8)]) -> Side {
        Side { files: files.iter().map(|&(path, hash)| (path.into(), [hash; 32])).collect() }
    }

    #[test]
    fn contents_count_and_paths_tell_what_differs() {
        let left = side(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
        let right = side(&[("x/a", 1), ("b", 9), ("y", 8), ("d", 1)]);
        let found = left.compare(&right);
        assert_eq!(found.identical, 1);
        use Difference::{Differing, Extra, Missing};
        let path = PathBuf::from;
        assert_eq!(found.differences, [Differing(path("b")), Missing(path("c")), Missing(path("d")), Extra(path("y"))]);
        assert_eq!(left.compare(&left), Comparison { identical: 4, differences: Vec::new() });
    }
}
