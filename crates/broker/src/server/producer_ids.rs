//! Producer ids that are never given twice, whatever happens to the process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::BrokerError;

const FILE_NAME: &str = "producer-ids";
/// Ids set aside with one write to disk; as many are lost when the process ends.
const BLOCK: i64 = 1000;

/// Gives out producer ids. The file holds the first id of the block that comes next.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
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
            Err(source) if source.kind() == io::ErrorKind::NotFound => Some(0),
            Err(source) => return Err(BrokerError::ProducerIds { path, source }),
        };
        match next {
            Some(next) => Ok(Self { path, block: Mutex::new(Block { next, end: next }) }),
            None => Err(BrokerError::ProducerIds {
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, "it does not hold a number"),
            }),
        }
    }

    /// An id that nobody has had before.
    pub(crate) fn next(&self) -> Result<i64, BrokerError> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if block.next == block.end {
            let end = block.next + BLOCK;
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
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), "lots").unwrap();
        let error = ProducerIds::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(FILE_NAME), "{error}");
    }
}
