//! Files made element by element.

use bytes::Bytes;
use std::collections::BTreeMap;

pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
pub(crate) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bytes(Vec<u8>),
    Items(Vec<Elements>),
    /// The offset table and the fragments.
    Fragments(Vec<Vec<u8>>),
}

/// Elements by tag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Elements(pub(crate) BTreeMap<u32, ([u8; 2], Value)>);

impl Elements {
    pub(crate) fn text(&mut self, tag: u32, vr: &str, value: &str) -> &mut Self {
        self.bytes(tag, vr, value.as_bytes())
    }

    pub(crate) fn bytes(&mut self, tag: u32, vr: &str, value: &[u8]) -> &mut Self {
        let mut value = value.to_vec();
        if value.len() % 2 == 1 {
            value.push(if matches!(vr, "UI" | "OB" | "UN") { 0 } else { b' ' });
        }
        self.0.insert(tag, (letters(vr), Value::Bytes(value)));
        self
    }

    pub(crate) fn u16(&mut self, tag: u32, value: u16) -> &mut Self {
        self.bytes(tag, "US", &value.to_le_bytes())
    }

    pub(crate) fn items(&mut self, tag: u32, items: Vec<Elements>) -> &mut Self {
        self.0.insert(tag, (letters("SQ"), Value::Items(items)));
        self
    }

    pub(crate) fn fragments(&mut self, fragments: Vec<Vec<u8>>) -> &mut Self {
        self.0.insert(0x7FE0_0010, (letters("OB"), Value::Fragments(fragments)));
        self
    }

    /// What an image of CT must have, without pixels.
    pub(crate) fn ct() -> Self {
        let mut elements = Self::default();
        elements.text(0x0008_0016, "UI", CT).text(0x0008_0018, "UI", "1.3.6.1.4.1.9999.1.3").text(
            0x0008_0060,
            "CS",
            "CT",
        );
        elements.text(0x0020_000D, "UI", "1.3.6.1.4.1.9999.1.1").text(0x0020_000E, "UI", "1.3.6.1.4.1.9999.1.2");
        elements.text(0x0010_0010, "PN", "Quixlby^Zanthor").text(0x0010_0020, "LO", "PID-774411");
        elements
    }

    fn write(&self, explicit: bool, big: bool, out: &mut Vec<u8>) {
        for (tag, (vr, value)) in &self.0 {
            put_tag(*tag, big, out);
            let mut undefined = false;
            let bytes = match value {
                Value::Bytes(bytes) => bytes.clone(),
                Value::Items(items) => {
                    let mut bytes = Vec::new();
                    for item in items {
                        let mut inner = Vec::new();
                        item.write(explicit, big, &mut inner);
                        put_item(&inner, big, &mut bytes);
                    }
                    bytes
                }
                Value::Fragments(fragments) => {
                    let mut bytes = Vec::new();
                    fragments.iter().for_each(|fragment| put_item(fragment, big, &mut bytes));
                    put_tag(0xFFFE_E0DD, big, &mut bytes);
                    put(0, 4, big, &mut bytes);
                    undefined = true;
                    bytes
                }
            };
            let length = if undefined { u32::MAX } else { u32::try_from(bytes.len()).unwrap() };
            if explicit {
                out.extend_from_slice(vr);
                let long = ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"];
                if long.iter().any(|long| long.as_bytes() == vr) {
                    out.extend_from_slice(&[0, 0]);
                    put(length, 4, big, out);
                } else {
                    put(length, 2, big, out);
                }
            } else {
                put(length, 4, big, out);
            }
            out.extend(bytes);
        }
    }

    /// A file with a preamble and file meta information full of what must not survive.
    pub(crate) fn file(&self, transfer_syntax: &str) -> Bytes {
        let mut meta = Self::default();
        meta.text(0x0002_0002, "UI", CT).text(0x0002_0003, "UI", "1.3.6.1.4.1.9999.1.3");
        meta.text(0x0002_0010, "UI", transfer_syntax).text(0x0002_0012, "UI", "1.3.6.1.4.1.9999.5");
        meta.text(0x0002_0016, "AE", "SEEDAESOURCE").text(0x0002_0017, "AE", "SEEDAESENDER");
        meta.text(0x0002_0100, "UI", "1.3.6.1.4.1.9999.6").text(0x0002_0102, "OB", "SEEDPRIVATEMETA");
        let mut out = vec![0; 128];
        out[..12].copy_from_slice(b"SEEDPREAMBLE");
        out.extend_from_slice(b"DICM");
        meta.write(true, false, &mut out);
        let mut dataset = Vec::new();
        self.write(transfer_syntax != IMPLICIT, transfer_syntax == BIG_ENDIAN, &mut dataset);
        if transfer_syntax == DEFLATED {
            let mut deflater = flate2::read::DeflateEncoder::new(&*dataset, flate2::Compression::fast());
            std::io::copy(&mut deflater, &mut out).unwrap();
        } else {
            out.extend(dataset);
        }
        out.into()
    }
}

fn letters(vr: &str) -> [u8; 2] {
    vr.as_bytes().try_into().unwrap()
}

fn put_item(bytes: &[u8], big: bool, out: &mut Vec<u8>) {
    put_tag(0xFFFE_E000, big, out);
    put(u32::try_from(bytes.len()).unwrap(), 4, big, out);
    out.extend_from_slice(bytes);
}

fn put_tag(tag: u32, big: bool, out: &mut Vec<u8>) {
    put(tag >> 16, 2, big, out);
    put(tag & 0xFFFF, 2, big, out);
}

fn put(value: u32, width: usize, big: bool, out: &mut Vec<u8>) {
    if big {
        out.extend_from_slice(&value.to_be_bytes()[4 - width..]);
    } else {
        out.extend_from_slice(&value.to_le_bytes()[..width]);
    }
}
