//! Cameras added to and removed from a settings file; everything else in it, comments included, stays as it is.

use crate::site::Site;
use crate::site::fault::FileError;
use anyhow::Context as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

/// The sections' name.
const CAMERA: &str = "camera";

/// A settings file that is being changed.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    document: DocumentMut,
}

impl Draft {
    /// # Errors
    /// A file that cannot be read or is wrong already.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let text = super::check::read_text(path)?;
        Site::parse(path, &text)?;
        let document = text.parse().with_context(|| format!("cannot change {}", path.display()))?;
        Ok(Self { path: path.to_owned(), document })
    }

    /// Adds a section at the end of the cameras.
    ///
    /// # Errors
    /// When the file has `camera` in a form that cannot be added to.
    pub(crate) fn add(&mut self, camera: Table) -> anyhow::Result<()> {
        self.cameras()?.push(camera);
        Ok(())
    }

    /// Removes the section with this id; whether there was one.
    ///
    /// # Errors
    /// As [`Draft::add`].
    pub(crate) fn remove(&mut self, id: &str) -> anyhow::Result<bool> {
        let cameras = self.cameras()?;
        let has_id = |table: &Table| table.get("id").and_then(Item::as_str) == Some(id);
        let before = cameras.len();
        cameras.retain(|table| !has_id(table));
        let is_removed = cameras.len() < before;
        if cameras.is_empty() {
            self.document.remove(CAMERA);
        }
        Ok(is_removed)
    }

    fn cameras(&mut self) -> anyhow::Result<&mut ArrayOfTables> {
        let item = self.document.entry(CAMERA).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        // camera = [{ … }] means the same.
        if let Some(array) = item.as_array() {
            let tables = array.iter().filter_map(|value| value.as_inline_table().cloned().map(|t| t.into_table()));
            *item = Item::ArrayOfTables(tables.collect());
        }
        item.as_array_of_tables_mut().context("the cameras must be [[camera]] sections")
    }

    /// The file as it shall be, checked.
    ///
    /// # Errors
    /// [`FileError`] with what would be wrong.
    pub(crate) fn check(&self) -> Result<Site, FileError> {
        Site::parse(&self.path, &self.document.to_string())
    }

    /// Checks and replaces the file: whoever reads it sees the old or the new one, never half of it.
    ///
    /// # Errors
    /// As [`Draft::check`]; when it cannot be written.
    pub(crate) fn save(&self) -> anyhow::Result<Site> {
        let site = self.check()?;
        write_file(&self.path, &self.document.to_string())?;
        Ok(site)
    }
}

/// Replaces a file as a whole, with the permissions it had; a link stays a link.
pub(crate) fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut new = NamedTempFile::new_in(folder)?;
        new.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(&target) {
            fs::set_permissions(new.path(), old.permissions())?;
        }
        new.as_file().sync_all()?;
        new.persist(&target).map_err(|error| error.error)?;
        Ok::<_, std::io::Error>(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\nbrokers = \"a:1\" # here\n\n# the gate\n[[camera]]\nid = \"gate\"\nsource = \"x.mp4\"\n\n\
                        [log] # at the end\nlevel = \"info\"\n";

    fn draft(text: &str) -> (tempfile::TempDir, Draft) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lumenbus.toml");
        fs::write(&path, text).unwrap();
        let draft = Draft::open(&path).unwrap();
        (folder, draft)
    }

    fn camera(id: &str) -> Table {
        let mut table = Table::new();
        table.insert("id", toml_edit::value(id));
        table.insert("source", toml_edit::value("y.mp4"));
        table
    }

    #[test]
    fn comments_stay_and_what_is_added_can_be_removed() {
        let (_folder, mut draft) = draft(TEXT);
        draft.add(camera("yard")).unwrap();
        assert_eq!(draft.save().unwrap().cameras.len(), 2);
        let text = fs::read_to_string(&draft.path).unwrap();
        for kept in ["# mine\n", "\"a:1\" # here", "# the gate\n[[camera]]\nid = \"gate\"", "[log] # at the end"] {
            assert!(text.contains(kept), "{kept:?} is not in:\n{text}");
        }
        let mut draft = Draft::open(&draft.path).unwrap();
        assert!(draft.remove("yard").unwrap());
        assert!(!draft.remove("yard").unwrap());
        draft.save().unwrap();
        assert_eq!(fs::read_to_string(&draft.path).unwrap(), TEXT);
    }

    #[test]
    fn a_double_is_not_written() {
        let (_folder, mut draft) = draft(TEXT);
        draft.add(camera("gate")).unwrap();
        let error = draft.save().unwrap_err().to_string();
        assert!(error.contains("camera gate is already on line"), "{error}");
        assert_eq!(fs::read_to_string(&draft.path).unwrap(), TEXT);
    }

    #[test]
    fn an_array_of_inline_tables_and_an_empty_file_take_cameras() {
        for (text, count) in [("", 1), ("camera = [{ id = \"a\", source = \"x\" }]\n", 2)] {
            let (_folder, mut draft) = draft(text);
            draft.add(camera("b")).unwrap();
            assert_eq!(draft.save().unwrap().cameras.len(), count);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, draft) = draft(TEXT);
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink(&draft.path, &link).unwrap();
        fs::set_permissions(&draft.path, fs::Permissions::from_mode(0o640)).unwrap();
        write_file(&link, "[log]\n").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&draft.path).unwrap(), "[log]\n");
        assert_eq!(fs::metadata(&draft.path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
