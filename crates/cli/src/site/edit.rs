//! Cameras added to and removed from a settings file; everything else in it, comments included, stays as it is.

use crate::site::Site;
use crate::site::fault::FileError;
use anyhow::Context as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use toml_edit::{Document, DocumentMut, Item, Table};

/// The sections' name.
const CAMERA: &str = "camera";

/// A settings file that is being changed.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    text: String,
}

impl Draft {
    /// # Errors
    /// A file that cannot be read or is wrong already.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let text = super::check::read_text(path)?;
        Site::parse(path, &text)?;
        Ok(Self { path: path.to_owned(), text: with_sections(text)? })
    }

    /// Adds a section at the end.
    pub(crate) fn add(&mut self, camera: Table) {
        let mut section = DocumentMut::new();
        section.insert(CAMERA, Item::ArrayOfTables([camera].into_iter().collect()));
        let text = self.text.trim_end();
        self.text = format!("{text}{}{section}", if text.is_empty() { "" } else { "\n\n" });
    }

    /// Removes the section with this id, with the comments that stand directly at it; whether there was one.
    pub(crate) fn remove(&mut self, id: &str) -> anyhow::Result<bool> {
        let Some((header, last)) = place(&self.text, id)? else { return Ok(false) };
        self.text = without(&self.text, header, last);
        Ok(true)
    }

    /// The file as it shall be, checked.
    ///
    /// # Errors
    /// [`FileError`] with what would be wrong.
    pub(crate) fn check(&self) -> Result<Site, FileError> {
        Site::parse(&self.path, &self.text)
    }

    /// Checks and replaces the file: whoever reads it sees the old or the new one, never half of it.
    ///
    /// # Errors
    /// As [`Draft::check`]; when it cannot be written.
    pub(crate) fn save(&self) -> anyhow::Result<Site> {
        let site = self.check()?;
        write_file(&self.path, &self.text)?;
        Ok(site)
    }
}

/// `camera = [{ … }]` means the same as sections, and becomes them.
fn with_sections(text: String) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse().context("the file is no TOML")?;
    let Some(Item::Value(value)) = document.remove(CAMERA) else { return Ok(text) };
    let tables = value.as_array().into_iter().flat_map(|array| array.iter().cloned());
    let tables = tables.filter_map(|value| value.as_inline_table().cloned().map(toml_edit::InlineTable::into_table));
    document.insert(CAMERA, Item::ArrayOfTables(tables.collect()));
    Ok(document.to_string())
}

/// The lines of the header and of the last value of the section with this id.
fn place(text: &str, id: &str) -> anyhow::Result<Option<(usize, usize)>> {
    let document = Document::parse(text).context("the file is no TOML")?;
    let cameras = document.get(CAMERA).and_then(Item::as_array_of_tables);
    let mut tables = cameras.into_iter().flat_map(|cameras| cameras.iter());
    let Some(table) = tables.find(|table| table.get("id").and_then(Item::as_str) == Some(id)) else {
        return Ok(None);
    };
    let span = table.span().context("the section has no place")?;
    let line_of = |offset: usize| text[..offset].matches('\n').count();
    Ok(Some((line_of(span.start), line_of(last_byte(table).max(span.start)))))
}

/// Where the last value of a table, or of those inside it, ends.
fn last_byte(table: &Table) -> usize {
    let end = |item: &Item| match item {
        Item::Table(inner) => last_byte(inner),
        Item::ArrayOfTables(inner) => inner.iter().map(last_byte).max().unwrap_or(0),
        other => other.span().map_or(0, |span| span.end),
    };
    table.iter().map(|(_, item)| end(item)).max().unwrap_or(0)
}

/// The text without the lines of a section, the comments directly above its header, and those directly below its last
/// value (unless they stand directly above another header).
fn without(text: &str, header: usize, last: usize) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_comment = |line: &&&str| line.trim_start().starts_with('#');
    let first = header - lines[..header].iter().rev().take_while(is_comment).count();
    let below = lines[last + 1..].iter().take_while(is_comment).count();
    let next = lines.get(last + 1 + below);
    let is_of_next = next.is_some_and(|line| line.trim_start().starts_with('['));
    let mut end = last + 1 + if is_of_next { 0 } else { below };
    // One of the blank lines around it goes with it.
    let is_blank = |line: Option<&&str>| line.is_none_or(|line| line.trim().is_empty());
    if is_blank(first.checked_sub(1).and_then(|before| lines.get(before))) && is_blank(lines.get(end)) {
        end += 1;
    }
    let rest = lines.get(end.min(lines.len())..).unwrap_or_default();
    let text: String = lines[..first].iter().chain(rest).copied().collect();
    if rest.is_empty() && !text.trim().is_empty() { format!("{}\n", text.trim_end()) } else { text }
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

    const TEXT: &str = "# mine\nbrokers = \"a:1\" # here\n\n# the gate\n[[camera]]\nid = \"gate\"\nsource = \"x.mp4\"\n\
                        #fps = 25\n\n# kept\n\n[log] # at the end\nlevel = \"info\"\n";

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
    fn what_is_added_stands_at_the_end_and_can_be_removed() {
        let (_folder, mut draft) = draft(TEXT);
        draft.add(camera("yard"));
        assert_eq!(draft.save().unwrap().cameras.len(), 2);
        let expected = format!("{TEXT}\n[[camera]]\nid = \"yard\"\nsource = \"y.mp4\"\n");
        assert_eq!(fs::read_to_string(&draft.path).unwrap(), expected);
        let mut draft = Draft::open(&draft.path).unwrap();
        assert!(draft.remove("yard").unwrap());
        assert!(!draft.remove("yard").unwrap());
        draft.save().unwrap();
        assert_eq!(fs::read_to_string(&draft.path).unwrap(), TEXT);
    }

    #[test]
    fn only_comments_directly_at_a_section_go_with_it() {
        let (_folder, mut draft) = draft(TEXT);
        assert!(draft.remove("gate").unwrap());
        assert_eq!(draft.text, "# mine\nbrokers = \"a:1\" # here\n\n# kept\n\n[log] # at the end\nlevel = \"info\"\n");
    }

    #[test]
    fn tables_inside_a_section_go_with_it_and_the_next_ones_comment_stays() {
        let text = "[[camera]]\nid = \"a\"\nsource = \"x\"\n[camera.labels]\nfloor = \"2\"\n# b\n[[camera]]\nid = \"b\"\nsource = \"x\"\n";
        let (_folder, mut draft) = draft(text);
        assert!(draft.remove("a").unwrap());
        assert_eq!(draft.text, "# b\n[[camera]]\nid = \"b\"\nsource = \"x\"\n");
        assert!(draft.remove("b").unwrap());
        assert_eq!((draft.text.as_str(), draft.check().unwrap().cameras.len()), ("", 0));
    }

    #[test]
    fn the_template_loses_its_camera_whole() {
        let (_folder, mut draft) = draft(&crate::site::template(None));
        draft.add(camera("yard"));
        assert!(draft.remove("pattern").unwrap());
        assert_eq!(draft.check().unwrap().cameras.len(), 1);
        assert!(!draft.text.contains("#enabled = true\n\n[[camera]]") && draft.text.contains("One section a camera"));
    }

    #[test]
    fn a_double_is_not_written() {
        let (_folder, mut draft) = draft(TEXT);
        draft.add(camera("gate"));
        let error = draft.save().unwrap_err().to_string();
        assert!(error.contains("camera gate is already on line"), "{error}");
        assert_eq!(fs::read_to_string(&draft.path).unwrap(), TEXT);
    }

    #[test]
    fn an_array_of_inline_tables_and_an_empty_file_take_cameras() {
        for (text, count) in [("", 1), ("camera = [{ id = \"a\", source = \"x\" }]\n[log]\n", 2)] {
            let (_folder, mut draft) = draft(text);
            draft.add(camera("b"));
            assert_eq!(draft.save().unwrap().cameras.len(), count);
            assert!(draft.remove("b").unwrap());
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
