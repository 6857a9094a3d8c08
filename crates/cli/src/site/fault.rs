//! What is wrong with a settings file: line, key, reason. Values that may be secret are not repeated.

use std::fmt;
use std::path::PathBuf;

/// More are counted, not listed.
const MAX_SHOWN: usize = 20;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// From 1.
    pub(crate) line: usize,
    /// Such as `[[camera]] fps`; empty where no key is concerned.
    pub(crate) key: String,
    /// What is wrong and what would be right.
    pub(crate) what: String,
}

impl Fault {
    /// At an offset in bytes.
    pub(crate) fn at(text: &str, offset: usize, what: impl Into<String>) -> Self {
        let offset = offset.min(text.len());
        let before = text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        Self { line: before + 1, key: key(text, before), what: what.into() }
    }

    /// What the parser found.
    pub(crate) fn of_parser(text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        Self::at(text, offset, without_values(error.message()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// The header above a line and the key on it.
fn key(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().take(line + 1).collect();
    let is_header = |text: &&&str| text.trim_start().starts_with('[') && !text.contains('=');
    let header = lines.iter().rev().find(is_header).map_or("", |header| header.split('#').next().unwrap_or("").trim());
    let name = lines.get(line).and_then(|text| text.split_once('=')).map_or("", |(name, _)| name.trim());
    [header, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The parser repeats strings that have the wrong type.
fn without_values(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    match message.split_once("string \"") {
        Some((before, rest)) => {
            let after = rest.rfind('"').map_or("", |end| &rest[end + 1..]);
            format!("{before}string{after}")
        }
        None => message.to_owned(),
    }
}

/// A settings file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileError {
    /// The file.
    pub(crate) path: PathBuf,
    /// What is wrong, in the order of lines; never empty.
    pub(crate) faults: Vec<Fault>,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().take(MAX_SHOWN).enumerate() {
            write!(f, "{}{}, {fault}", if n > 0 { "\n" } else { "" }, self.path.display())?;
        }
        match self.faults.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for FileError {}
