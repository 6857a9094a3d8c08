//! Text of attributes by Specific Character Set (0008,0005), as far as names of files need it (DICOM PS3.3, section
//! C.12.1.1.2): ASCII, Latin-1 and UTF-8. In other sets, and where bytes are not of their set, what is not ASCII becomes
//! `=XX`, one per byte: readable where it can be, different for different bytes, never wrong.

/// The value as text, without its padding.
pub(crate) fn text(value: &[u8], character_set: Option<&[u8]>) -> String {
    let value = value.trim_ascii_end();
    let value = value.strip_suffix(b"\0").map_or(value, <[u8]>::trim_ascii_end).trim_ascii_start();
    match character_set.map(<[u8]>::trim_ascii).map(|set| set.strip_suffix(b"\0").unwrap_or(set)) {
        Some(b"ISO_IR 192") => std::str::from_utf8(value).map_or_else(|_| escaped(value), str::to_owned),
        Some(b"ISO_IR 100") => value.iter().map(|&byte| char::from(byte)).collect(),
        _ => escaped(value),
    }
}

fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for &byte in value {
        if byte.is_ascii() { text.push(char::from(byte)) } else { text.push_str(&format!("={byte:02X}")) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn character_sets() {
        let check = |value: &[u8], set: Option<&[u8]>, expected: &str| {
            assert_eq!(text(value, set), expected, "{value:02x?} in {set:?}");
        };
        check(b"Doe^John ", None, "Doe^John");
        check(b"1.2.3\0", None, "1.2.3");
        check(b"M\xfcller", Some(b"ISO_IR 100"), "Müller");
        check("Müller".as_bytes(), Some(b"ISO_IR 192"), "Müller");
        check(b"M\xfcller", Some(b"ISO_IR 192"), "M=FCller");
        check(b"M\xfcller", None, "M=FCller");
        check(b"\x1b$B;3", Some(b"\\ISO 2022 IR 87"), "\u{1b}$B;3");
    }
}
