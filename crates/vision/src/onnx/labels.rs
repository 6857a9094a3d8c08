//! What the classes of a model are called.

use super::error::ModelError;
use lumenbus_wire::Model;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest lists that are in use have some 9,000.
pub(super) const MAX_LABELS: usize = 10_000;
/// Bytes of a label, as results have them.
const MAX_LABEL: usize = 128;
/// Bytes of a label's number, with what stands around it.
const MAX_NUMBER: usize = 32;
/// Bytes of a file of labels.
const MAX_FILE: u64 = 1 << 20;
/// Endings of such files, in place of the model's.
const ENDINGS: [&str; 2] = ["labels", "txt"];

/// Labels of classes, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels(Vec<Arc<str>>);

impl Labels {
    /// From the model's metadata, else from a file beside it, else none.
    pub(super) fn find(metadata: Option<&str>, model: &Path) -> Result<Self, ModelError> {
        if let Some(labels) = metadata.and_then(parse_names) {
            return Ok(labels);
        }
        for ending in ENDINGS {
            let path = model.with_extension(ending);
            if path != model && path.is_file() {
                return read(path);
            }
        }
        Ok(Self::default())
    }

    fn new(labels: impl IntoIterator<Item = String>) -> Self {
        let name = |(number, label): (usize, String)| match shorten(&label) {
            "" => format!("class {number}").into(),
            label => label.into(),
        };
        Self(labels.into_iter().enumerate().map(name).collect())
    }

    /// How many there are; `None` when nobody says.
    pub(super) fn len(&self) -> Option<usize> {
        Some(self.0.len()).filter(|len| *len > 0)
    }

    pub(super) fn get(&self, class: usize) -> Arc<str> {
        self.0.get(class).map_or_else(|| format!("class {class}").into(), Arc::clone)
    }

    /// Whether the first one stands for nothing at all.
    pub(super) fn begins_with_background(&self) -> bool {
        self.0.first().is_some_and(|first| {
            let first = first.trim_matches('_').to_ascii_lowercase();
            ["background", "bg", "???", "unlabeled"].contains(&first.as_str())
        })
    }
}

fn shorten(label: &str) -> &str {
    let label = label.trim();
    label[..label.floor_char_boundary(MAX_LABEL)].trim_end()
}

/// One label in each line; empty lines at the end don't count.
fn read(path: PathBuf) -> Result<Labels, ModelError> {
    let mut text = String::new();
    let file = fs::File::open(&path);
    match file.and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text)) {
        Ok(length) if length as u64 > MAX_FILE => Err(ModelError::TooLarge { path, limit: MAX_FILE }),
        Ok(_) => {
            let lines = text.trim_end().lines();
            if lines.clone().count() > MAX_LABELS {
                return Err(ModelError::Labels { path, what: "more than 10,000 lines" });
            }
            Ok(Labels::new(lines.map(str::to_owned)))
        }
        Err(cause) => Err(ModelError::Read { path, cause }),
    }
}

/// `{0: 'person', 1: "bird's nest"}` as Ultralytics writes it, or a list without numbers.
pub(super) fn parse_names(text: &str) -> Option<Labels> {
    let text = text.trim();
    let inner = text.strip_prefix(['{', '['])?.strip_suffix(['}', ']'])?;
    let (mut names, mut rest) = (Vec::<Option<String>>::new(), inner.trim_start());
    while !rest.is_empty() {
        let (number, after) = number(rest).unwrap_or((names.len(), rest));
        let (name, after) = quoted(after.trim_start())?;
        if number >= MAX_LABELS {
            return None;
        }
        if names.len() <= number {
            names.resize(number + 1, None);
        }
        names[number] = Some(name);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    (!names.is_empty()).then(|| Labels::new(names.into_iter().map(Option::unwrap_or_default)))
}

/// `12:`, also quoted as JSON has it.
fn number(text: &str) -> Option<(usize, &str)> {
    // No further: a list without numbers would be searched to its end for each of its labels.
    let (number, _) = text[..text.floor_char_boundary(MAX_NUMBER)].split_once(':')?;
    let rest = &text[number.len() + 1..];
    let number = number.trim();
    let bare = ['"', '\''].iter().find_map(|quote| number.strip_prefix(*quote)?.strip_suffix(*quote));
    Some((bare.unwrap_or(number).parse().ok()?, rest))
}

/// The string at the beginning, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => name.push(chars.next()?.1),
            char if char == quote => return Some((name, &text[at + 1..])),
            char => name.push(char),
        }
    }
    None
}

/// The name that results carry: the file's, and a version that changes with its bytes.
pub(super) fn model_name(path: &Path, checksum: u32, rules: &str) -> Model {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = match shorten(&stem) {
        "" => "onnx",
        stem => stem,
    };
    Model::new(stem, &format!("{rules}-{checksum:08x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let labels = parse_names(text).map(|labels| labels.0).unwrap_or_default();
        assert_eq!(labels.iter().map(|label| &**label).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn names_as_exporters_write_them() {
        check("{0: 'person', 1: 'bicycle'}", &["person", "bicycle"]);
        check("{1: \"bird's nest\", 0: 'it\\'s, {so}: x',}", &["it's, {so}: x", "bird's nest"]);
        check("{\"0\": \"a\", \"2\": \"c\"}", &["a", "class 1", "c"]);
        check("['cat', \"dog\"]", &["cat", "dog"]);
        check("['0: x']", &["0: x"]);
    }

    #[test]
    fn other_texts_are_no_names() {
        for text in ["", "{}", "[]", "person", "{0: person}", "{0: 'open}", "{0: 'a' 1: 'b'}", "{99999999: 'x'}", "{'"]
        {
            check(text, &[]);
        }
    }

    #[test]
    fn labels_fit_into_results() {
        let long = "ö".repeat(200);
        let labels = Labels::new([long, " ".to_owned()]);
        assert_eq!(labels.get(0).len(), MAX_LABEL);
        assert_eq!((&*labels.get(1), &*labels.get(7)), ("class 1", "class 7"));
    }

    #[test]
    fn a_file_beside_the_model_names_the_classes() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("net.onnx");
        assert_eq!(Labels::find(None, &model).unwrap().len(), None);
        std::fs::write(folder.path().join("net.txt"), "background\ncar\n\n").unwrap();
        let labels = Labels::find(Some("nonsense"), &model).unwrap();
        assert_eq!((labels.len(), &*labels.get(1)), (Some(2), "car"));
        assert!(labels.begins_with_background());
        assert_eq!(&*Labels::find(Some("['dog']"), &model).unwrap().get(0), "dog");
        std::fs::write(folder.path().join("net.labels"), "x\n".repeat(MAX_LABELS + 1)).unwrap();
        assert!(Labels::find(None, &model).unwrap_err().to_string().contains("10,000"));
    }
}
