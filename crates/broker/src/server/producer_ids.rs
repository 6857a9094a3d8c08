//! Producer ids that are never given twice, whatever happens to the process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::BrokerError;
use crate::log::LogError;

const FILE_NAME: &str = "producer-ids";
/// Ids set aside with one write to disk; as many are lost when the process ends.
const BLOCK: i64 = 1000;

/// Gives out producer ids. The file holds the first id of the block that comes next.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    /// Nobody has ever asked for an id here.
    is_new: bool,
    block: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    next: i64,
    end: i64,
}

impl ProducerIds {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, BrokerError> {
        let path = data_dir.join(FILE_NAME);
        let next = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().ok().filter(|next| *next >= 0),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, is_new: true, block: Mutex::new(Block { next: 0, end: 0 }) });
            }
            Err(source) => return Err(BrokerError::ProducerIds { path, source }),
        };
        match next {
            Some(next) => Ok(Self { path, is_new: false, block: Mutex::new(Block { next, end: next }) }),
            None => Err(BrokerError::ProducerIds {
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, "it does not hold a number"),
            }),
        }
    }

    /// In a directory that somebody else has written, ids begin above those in use. Asked for once.
    pub(crate) fn begin_above(
        &self,
        largest: impl FnOnce() -> Result<Option<i64>, LogError>,
    ) -> Result<(), BrokerError> {
        if !self.is_new {
            return Ok(());
        }
        let next = largest()?.map_or(0, |largest| largest.saturating_add(1));
        self.persist(next).map_err(|source| BrokerError::ProducerIds { path: self.path.clone(), source })?;
        *self.block.lock().unwrap_or_else(PoisonError::into_inner) = Block { next, end: next };
        Ok(())
    }

    /// An id that nobody has had before.
    pub(crate) fn next(&self) -> Result<i64, BrokerError> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if block.next == block.end {
            let used_up = || io::Error::other("all producer ids are used up");
            let end = block.next.checked_add(BLOCK).ok_or_else(used_up);
            let end = end.map_err(|source| BrokerError::ProducerIds { path: self.path.clone(), source })?;
            self.persist(end).map_err(|source| BrokerError::ProducerIds { path: self.path.clone(), source })?;
            block.end = end;
        }
        block.next += 1;
        Ok(block.next - 1)
    }

    fn persist(&self, next: i64) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        writeln!(file, "{next}")?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_across_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let ids = ProducerIds::open(folder.path()).unwrap();
            for _ in 0..BLOCK + 10 {
                assert!(seen.insert(ids.next().unwrap()));
            }
        }
    }

    #[test]
    fn ids_in_use_are_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let ids = ProducerIds::open(folder.path()).unwrap();
        ids.begin_above(|| Ok(Some(41))).unwrap();
        assert_eq!(ids.next().unwrap(), 42);
        let ids = ProducerIds::open(folder.path()).unwrap();
        ids.begin_above(|| panic!("looked once")).unwrap();
        assert_eq!(ids.next().unwrap(), 42 + BLOCK);
        fs::write(folder.path().join(FILE_NAME), i64::MAX.to_string()).unwrap();
        let error = ProducerIds::open(folder.path()).unwrap().next().unwrap_err();
        assert!(error.to_string().contains("used up"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), "lots").unwrap();
        let error = ProducerIds::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(FILE_NAME), "{error}");
    }
}
