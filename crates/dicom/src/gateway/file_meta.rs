//! Preamble and file meta information (PS3.10, section 7.1): made for objects that come without them, and taken off those
//! that leave without them. No I/O.

const PREAMBLE_BYTES: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";
const GROUP: [u8; 2] = [2, 0];
/// Of one value, and of all of them; encodings of certificates and private information are far below.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// What a C-STORE says of a data set.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// SOP class.
    pub sop_class: &'a str,
    /// SOP instance.
    pub sop_instance: &'a str,
    /// Of the presentation context.
    pub transfer_syntax: &'a str,
    /// Application entity that sent it.
    pub calling: &'a str,
}

/// What stands in front of a received data set, so that both together are a file: with the data set's bytes untouched.
#[must_use]
pub fn preface(origin: &Origin<'_>) -> Vec<u8> {
    let mut group = Vec::new();
    let mut push = |element: u8, vr: &[u8; 2], value: &[u8], pad: u8| {
        group.extend([2, 0, element, 0, vr[0], vr[1]]);
        let padded = value.len().next_multiple_of(2);
        group.extend(u16::try_from(padded).unwrap_or(0).to_le_bytes());
        group.extend(value);
        group.resize(group.len() + (padded - value.len()), pad);
    };
    push(0x02, b"UI", origin.sop_class.as_bytes(), 0);
    push(0x03, b"UI", origin.sop_instance.as_bytes(), 0);
    push(0x10, b"UI", origin.transfer_syntax.as_bytes(), 0);
    push(0x12, b"UI", super::IMPLEMENTATION_CLASS.as_bytes(), 0);
    push(0x13, b"SH", super::IMPLEMENTATION_VERSION.as_bytes(), b' ');
    push(0x16, b"AE", origin.calling.as_bytes(), b' ');
    let mut preface = vec![0; PREAMBLE_BYTES];
    preface.extend(MAGIC);
    // (0002,0001) has VR OB with its long length.
    let version = [2, 0, 1, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1];
    let length = u32::try_from(version.len() + group.len()).unwrap_or(0);
    preface.extend([2, 0, 0, 0, b'U', b'L', 4, 0]);
    preface.extend(length.to_le_bytes());
    preface.extend(version);
    preface.extend(group);
    preface
}

/// The file meta information of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// Where the data set begins: behind preamble and group 2.
    pub data_set: usize,
    /// (0002,0002)
    pub sop_class: Option<String>,
    /// (0002,0003)
    pub sop_instance: Option<String>,
    /// (0002,0010)
    pub transfer_syntax: Option<String>,
}

impl FileMeta {
    /// Reads the beginning of a file; nothing when group 2 does not end in it. A file without preamble and group 2 has its
    /// data set at its beginning. The elements count, not the group's length, which is wrong in some files.
    #[must_use]
    pub fn read(head: &[u8]) -> Option<Self> {
        let has_preamble = head.get(PREAMBLE_BYTES..PREAMBLE_BYTES + MAGIC.len()) == Some(MAGIC);
        let mut meta =
            Self { data_set: if has_preamble { PREAMBLE_BYTES + MAGIC.len() } else { 0 }, ..Self::default() };
        while let Some(rest) = head.get(meta.data_set..).filter(|rest| rest.starts_with(&GROUP)) {
            let &[_, _, element, high, a, b, c, d] = rest.first_chunk::<8>()?;
            let is_long =
                matches!(&[a, b], b"OB" | b"OD" | b"OF" | b"OL" | b"OW" | b"SQ" | b"UC" | b"UN" | b"UR" | b"UT");
            let (start, length) = match is_long {
                true => (12, u32::from_le_bytes(*rest.get(8..)?.first_chunk()?)),
                false => (8, u32::from(u16::from_le_bytes([c, d]))),
            };
            let length = usize::try_from(length).ok().filter(|&length| length <= MAX_VALUE_BYTES)?;
            let value = rest.get(start..start + length)?;
            let text = || {
                let text = String::from_utf8_lossy(value);
                Some(text.trim_end_matches(['\0', ' ']).to_owned()).filter(|text| !text.is_empty())
            };
            match (element, high) {
                (0x02, 0) => meta.sop_class = text(),
                (0x03, 0) => meta.sop_instance = text(),
                (0x10, 0) => meta.transfer_syntax = text(),
                _ => {}
            }
            meta.data_set += start + length;
        }
        // One byte may be the first of another element of the group.
        (head.len().checked_sub(meta.data_set)? != 1).then_some(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'_> = Origin {
        sop_class: "1.2.840.10008.5.1.4.1.1.7",
        sop_instance: "1.2.3",
        transfer_syntax: "1.2.840.10008.1.2",
        calling: "ME",
    };

    #[test]
    fn what_is_put_in_front_is_found_again() {
        let preface = preface(&ORIGIN);
        let file = [&preface[..], &[8, 0, 5, 0, b'C', b'S', 0, 0]].concat();
        let meta = FileMeta::read(&file).unwrap();
        assert_eq!(meta.data_set, preface.len());
        assert_eq!(meta.transfer_syntax.as_deref(), Some(ORIGIN.transfer_syntax));
        assert_eq!(meta.sop_class.as_deref(), Some(ORIGIN.sop_class));
        assert_eq!(meta.sop_instance.as_deref(), Some(ORIGIN.sop_instance));
        // A group length that is right: the data set begins that many bytes behind it.
        let length = u32::from_le_bytes(*preface[140..].first_chunk().unwrap()) as usize;
        assert_eq!(144 + length, preface.len());
    }

    #[test]
    fn files_without_group_2_begin_with_their_data_set_and_cut_ones_with_nothing() {
        assert_eq!(FileMeta::read(&[8, 0, 5, 0]).unwrap().data_set, 0);
        assert_eq!(FileMeta::read(&[]).unwrap().data_set, 0);
        let preface = preface(&ORIGIN);
        for length in 145..preface.len() {
            // Cut between two elements it looks complete.
            assert!(FileMeta::read(&preface[..length]).is_none_or(|meta| meta.data_set == length), "{length}");
        }
        let huge = [2, 0, 1, 0, b'O', b'B', 0, 0, 255, 255, 255, 255, 0, 0];
        assert_eq!(FileMeta::read(&huge), None);
    }
}
