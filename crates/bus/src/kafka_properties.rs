//! A Java client's `client.properties`, read and put into librdkafka's words.

mod jaas;
mod rules;

use crate::diagnosis::is_secret;
use rules::{RULES, Rule};
use std::collections::BTreeMap;
use std::fmt;

/// Longest file that is read, in bytes: PEM certificates may be inline.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Why a file is no Java properties file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertiesError {
    /// Too long for one.
    #[error("the properties have {bytes} bytes; the limit is {MAX_FILE_BYTES}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A `\u` without four hexadecimal digits.
    #[error("line {line} of the properties: \\u must be followed by four hexadecimal digits")]
    Escape {
        /// From 1.
        line: usize,
    },
}

/// What became of a property that librdkafka does not take as it is. No note repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyNote {
    /// Its name in the file.
    pub name: String,
    /// What was made of it.
    pub effect: PropertyEffect,
    /// Why, and what to do where something is to do.
    pub text: String,
}

/// What became of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PropertyEffect {
    /// It was given under another name or form.
    Translated,
    /// It says what is so anyway, or means nothing here.
    Ignored,
    /// It cannot be followed; what depends on it will not work until something is done.
    Unsupported,
}

impl fmt::Display for PropertyNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            PropertyEffect::Translated => "translated",
            PropertyEffect::Ignored => "ignored",
            PropertyEffect::Unsupported => "not supported",
        };
        write!(f, "{} ({effect}): {}", self.name, self.text)
    }
}

/// A properties file as it is written, the last of equal names counting.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct JavaProperties {
    entries: BTreeMap<String, String>,
}

impl fmt::Debug for JavaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        f.debug_map().entries(self.entries.iter().map(shown)).finish()
    }
}

impl JavaProperties {
    /// Reads the syntax of `java.util.Properties.load`: `#` and `!` comments, `=`, `:` or white space between name and
    /// value, a backslash at the end of a line to go on, `\t \n \r \f \uXXXX` and any other escaped character.
    ///
    /// The text is taken as UTF-8, as newer tools write it.
    ///
    /// # Errors
    /// A text that is too long, or a `\u` that is not followed by four hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(PropertiesError::TooLong { bytes: text.len() });
        }
        let mut entries = BTreeMap::new();
        for (line, logical) in logical_lines(text.strip_prefix('\u{feff}').unwrap_or(text)) {
            let (name, value) = split(&logical);
            entries.insert(unescape(name, line)?, unescape(value, line)?);
        }
        Ok(Self { entries })
    }

    /// A property by the name it has in the file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(String::as_str)
    }

    /// The properties for [`crate::BusConfig::properties`], and a note for every one that is not passed on as it is.
    ///
    /// Names that no rule knows are passed on: librdkafka shares most of Kafka's names and refuses the rest by name.
    #[must_use]
    pub fn translate(&self) -> (BTreeMap<String, String>, Vec<PropertyNote>) {
        let mut translation = Translation { file: self, properties: BTreeMap::new(), notes: Vec::new() };
        for (name, value) in &self.entries {
            translation.take(name, value);
        }
        (translation.properties, translation.notes)
    }
}

/// A translation under way.
struct Translation<'a> {
    file: &'a JavaProperties,
    properties: BTreeMap<String, String>,
    notes: Vec<PropertyNote>,
}

impl Translation<'_> {
    fn take(&mut self, name: &str, value: &str) {
        // An unset value in a template; Java clients take it as absent or fail.
        if value.is_empty() {
            return self.note(name, PropertyEffect::Ignored, "it has no value");
        }
        match RULES.iter().find(|(known, _)| *known == name).map(|(_, rule)| rule) {
            None if is_for_a_plug_in(name) => self.note(name, PropertyEffect::Ignored, rules::JVM_ONLY),
            None | Some(Rule::Same) => self.set(name, value),
            Some(Rule::Renamed(to)) => {
                self.set(to, value);
                self.note(name, PropertyEffect::Translated, &format!("librdkafka calls it {to}"));
            }
            Some(Rule::Ignored(why)) => self.note(name, PropertyEffect::Ignored, why),
            Some(Rule::Unsupported(why)) => self.note(name, PropertyEffect::Unsupported, why),
            Some(Rule::Special(translate)) => translate(self, name, value),
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.properties.insert(name.to_owned(), value.to_owned());
    }

    fn note(&mut self, name: &str, effect: PropertyEffect, text: &str) {
        self.notes.push(PropertyNote { name: name.to_owned(), effect, text: text.to_owned() });
    }
}

/// Settings of Java classes that a client may load.
fn is_for_a_plug_in(name: &str) -> bool {
    const PREFIXES: &[&str] =
        &["sasl.login.", "metrics.", "interceptor.", "schema.registry.", "basic.auth.", "auto.register."];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Lines without comments and blanks, continued ones joined, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, natural) in text.split(['\n', '\r']).enumerate() {
        let rest = natural.trim_start_matches([' ', '\t', '\x0c']);
        if open.is_none() && (rest.is_empty() || rest.starts_with(['#', '!'])) {
            continue;
        }
        let (number, mut line) = open.take().unwrap_or((index + 1, String::new()));
        let slashes = rest.len() - rest.trim_end_matches('\\').len();
        if slashes % 2 == 1 {
            line.push_str(&rest[..rest.len() - 1]);
            open = Some((number, line));
        } else {
            line.push_str(rest);
            lines.push((number, line));
        }
    }
    lines.extend(open);
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

/// Name and value, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0c');
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\x0c');
    let rest = line[end..].trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], value.trim_start_matches(is_blank))
}

/// Java's `\u` escapes are UTF-16 code units: two of them may be one character.
fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let plain = match character {
            '\\' => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    units.push(code_unit(&mut characters, line)?);
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn code_unit(characters: &mut std::str::Chars<'_>, line: usize) -> Result<u16, PropertiesError> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = characters.next().and_then(|digit| digit.to_digit(16)).ok_or(PropertiesError::Escape { line })?;
        unit = unit << 4 | u16::try_from(digit).expect("a hexadecimal digit");
    }
    Ok(unit)
}

#[cfg(test)]
mod tests;
