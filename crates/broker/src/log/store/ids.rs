//! The producer ids that a directory knows, for who gives out new ones.

use std::fs::{self, File};
use std::path::Path;

use super::LogStore;
use crate::log::error::LogError;
use crate::log::partition::Partition;
use crate::log::walk::Walker;

impl LogStore {
    /// The largest producer id in any log, batches of forgotten producers included. Reads every header, so it is for
    /// a directory that somebody else has written.
    pub(crate) fn largest_producer_id(&self) -> Result<Option<i64>, LogError> {
        let mut largest = None;
        for partition in self.all_partitions() {
            let remembered = partition.producers().into_iter().map(|producer| producer.producer_id).max();
            largest = largest.max(remembered).max(self.largest_in_batches(&partition)?);
        }
        Ok(largest)
    }

    fn largest_in_batches(&self, partition: &Partition) -> Result<Option<i64>, LogError> {
        if partition.check_opened().is_err() {
            return Ok(None);
        }
        let directory = self.config.data_dir.join(format!("{}-{}", partition.topic(), partition.index()));
        let mut largest = None;
        for entry in fs::read_dir(&directory).map_err(LogError::storage("list", &directory))? {
            let path = entry.map_err(LogError::storage("list", &directory))?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                largest = largest.max(largest_in(&path)?);
            }
        }
        Ok(largest)
    }
}

fn largest_in(path: &Path) -> Result<Option<i64>, LogError> {
    let file = File::open(path).map_err(LogError::storage("open", path))?;
    let size = file.metadata().map_err(LogError::storage("inspect", path))?.len();
    let mut walker = Walker::new(&file, path, 0..size, 0);
    let mut largest = None;
    loop {
        match walker.next() {
            Ok(Some((_, header))) => largest = largest.max(Some(header.producer_id).filter(|id| *id >= 0)),
            Ok(None) => return Ok(largest),
            Err(damaged @ LogError::CorruptSegment { .. }) => {
                tracing::warn!(%damaged, "producer ids behind that are not seen");
                return Ok(largest);
            }
            Err(error) => return Err(error),
        }
    }
}
