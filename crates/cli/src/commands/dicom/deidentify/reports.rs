//! A report on each study, as a file.

use anyhow::Context as _;
use lumenbus_dicom::deid::{DeidError, ObjectReport, StudyReport};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Studies whose reports are still being added to. Files of a study lie together, as a rule.
const MAX_OPEN: usize = 64;

#[derive(Debug)]
pub(super) struct Reports {
    folder: PathBuf,
    /// By new UID, with the count of objects when it was last added to.
    open: BTreeMap<String, (u64, StudyReport)>,
    added: u64,
    refused: BTreeMap<String, u64>,
}

impl Reports {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), open: BTreeMap::new(), added: 0, refused: BTreeMap::new() })
    }

    pub(super) fn add(&mut self, report: &ObjectReport) -> anyhow::Result<()> {
        self.added += 1;
        let study = &report.study_instance_uid;
        if !self.open.contains_key(study) && self.open.len() >= MAX_OPEN {
            let oldest = self.open.iter().min_by_key(|(_, (last, _))| *last).map(|(study, _)| study.clone());
            if let Some((_, done)) = oldest.and_then(|study| self.open.remove(&study)) {
                self.write(&done)?;
            }
        }
        let (last, of_study) = self.open.entry(study.clone()).or_insert_with(|| (0, StudyReport::new(study)));
        *last = self.added;
        of_study.add(report);
        Ok(())
    }

    /// Nobody knows of which study it is.
    pub(super) fn add_refused(&mut self, error: &DeidError) {
        *self.refused.entry(error.code().to_owned()).or_default() += 1;
    }

    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        for (_, report) in std::mem::take(&mut self.open).into_values() {
            self.write(&report)?;
        }
        if !self.refused.is_empty() {
            let text = serde_json::to_vec_pretty(&serde_json::json!({ "refused": self.refused }))?;
            self.write_as("refused", &text)?;
        }
        Ok(())
    }

    fn write(&self, report: &StudyReport) -> anyhow::Result<()> {
        let uid = &report.study_instance_uid;
        // Kept UIDs are somebody else's text.
        let is_uid =
            !uid.is_empty() && uid.len() <= 64 && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let name = if is_uid && !uid.starts_with('.') { uid.clone() } else { "irregular-uid".to_owned() };
        self.write_as(&name, &serde_json::to_vec_pretty(report)?)
    }

    /// An earlier report is somebody's evidence, and stays.
    fn write_as(&self, name: &str, text: &[u8]) -> anyhow::Result<()> {
        for number in 1_u32.. {
            let name = if number == 1 { format!("{name}.json") } else { format!("{name}-{number}.json") };
            let path = self.folder.join(name);
            match std::fs::File::create_new(&path) {
                Ok(mut file) => {
                    let written = std::io::Write::write_all(&mut file, text).and_then(|()| file.sync_all());
                    return written.with_context(|| format!("cannot write {}", path.display()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
            }
        }
        Ok(())
    }
}
