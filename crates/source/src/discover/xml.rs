//! XML from outside, read in one pass: bounded, without document types and without entities of its own.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Deepest nesting; messages of cameras have some ten levels.
const MAX_DEPTH: usize = 64;
/// Most elements of a message.
const MAX_ELEMENTS: usize = 20_000;
/// Longest text of one element that is kept; the rest is left out.
const MAX_TEXT_BYTES: usize = 8 * 1024;

/// Why a message is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not well-formed.
    #[error("it is no well-formed XML")]
    NotXml,
    /// A document type declaration, which such messages may not have.
    #[error("it has a document type declaration")]
    DocumentType,
    /// A reference to an entity that XML itself does not define.
    #[error("it refers to an entity that is not defined")]
    Entity,
    /// More than is ever read.
    #[error("it has more than {MAX_ELEMENTS} elements, or they are nested more than {MAX_DEPTH} deep")]
    TooLarge,
    /// Larger than a message may be.
    #[error("it has {bytes} bytes; the limit is {limit}")]
    TooLong {
        /// What it has.
        bytes: usize,
        /// Most that is read.
        limit: usize,
    },
}

/// An element that is open.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// Without its prefix: cameras do not agree on namespaces.
    pub(super) name: String,
    /// The attribute `token`, which profiles have.
    pub(super) token: Option<String>,
    /// What stands in it, apart from elements.
    pub(super) text: String,
}

/// Calls `close` for each element when it ends, with the elements around it from the outermost on.
pub(super) fn walk(bytes: &[u8], mut close: impl FnMut(&[Element], &Element)) -> Result<(), MessageError> {
    // A byte that is no UTF-8 spoils a name, not the message.
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    let (mut open, mut count) = (Vec::<Element>::new(), 0_usize);
    loop {
        let event = reader.read_event().map_err(|_| MessageError::NotXml)?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            count += 1;
            if count > MAX_ELEMENTS || open.len() >= MAX_DEPTH {
                return Err(MessageError::TooLarge);
            }
        }
        match event {
            Event::Start(start) => open.push(element(&start)),
            Event::Empty(start) => close(&open, &element(&start)),
            Event::End(_) => {
                let ended = open.pop().ok_or(MessageError::NotXml)?;
                close(&open, &ended);
            }
            Event::Text(part) => put(&mut open, &part.xml10_content()),
            Event::CData(part) => put(&mut open, &part.xml10_content()),
            Event::GeneralRef(reference) => put(&mut open, resolve(&reference)?.encode_utf8(&mut [0; 4])),
            Event::DocType(_) => return Err(MessageError::DocumentType),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if open.is_empty() && count > 0 => return Ok(()),
            Event::Eof => return Err(MessageError::NotXml),
        }
    }
}

fn element(start: &BytesStart<'_>) -> Element {
    let is_token = |name: &str| name == "token";
    let token = start.attributes().flatten().find(|attribute| is_token(attribute.key.as_ref()));
    let mut element = Element { name: start.local_name().as_ref().to_owned(), ..Element::default() };
    element.token = token.map(|attribute| attribute.value.chars().take(MAX_TEXT_BYTES / 4).collect());
    element
}

fn put(open: &mut [Element], part: &str) {
    if let Some(element) = open.last_mut()
        && element.text.len() + part.len() <= MAX_TEXT_BYTES
    {
        element.text.push_str(part);
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, MessageError> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| MessageError::Entity)? {
        return Ok(character);
    }
    match &**reference {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(MessageError::Entity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(xml: &str) -> Result<Vec<String>, MessageError> {
        let mut texts = Vec::new();
        walk(xml.as_bytes(), |path, element| {
            let names: Vec<_> = path.iter().chain([element]).map(|element| element.name.as_str()).collect();
            texts.push(format!("{}={}", names.join("/"), element.text));
        })?;
        Ok(texts)
    }

    #[test]
    fn texts_come_with_their_place_and_without_prefixes() {
        let xml = "\u{feff}<?xml version=\"1.0\"?><a:x xmlns:a='u'><y>1 &lt;&#65;&amp;</y><!-- no --><z/><![CDATA[<&]]></a:x>";
        assert_eq!(texts(xml).unwrap(), ["x/y=1 <A&", "x/z=", "x=<&"]);
    }

    #[test]
    fn entities_and_document_types_are_refused() {
        let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><x>&b;</x>";
        assert_eq!(texts(bomb), Err(MessageError::DocumentType));
        assert_eq!(texts("<x>&b;</x>"), Err(MessageError::Entity));
        assert_eq!(texts("<x>&#xd800;</x>"), Err(MessageError::Entity));
    }

    #[test]
    fn what_is_no_xml_or_too_much_of_it_is_refused() {
        for bad in ["", "plain", "<x>", "<x></y>", "</x>", "<x", "<x/><y>"] {
            assert_eq!(texts(bad), Err(MessageError::NotXml), "{bad}");
        }
        assert_eq!(texts(&"<x>".repeat(1_000)), Err(MessageError::TooLarge));
        let wide = format!("<x>{}</x>", "<y/>".repeat(MAX_ELEMENTS));
        assert_eq!(texts(&wide), Err(MessageError::TooLarge));
        let long = texts(&format!("<x>{}<y/>{}</x>", "a".repeat(MAX_TEXT_BYTES), "b".repeat(9))).unwrap();
        assert_eq!(long[1].len(), MAX_TEXT_BYTES + 2);
    }
}
