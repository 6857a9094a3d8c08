//! Boxes in memory (ISO/IEC 14496-12, 4.2).

use bytes::Bytes;

/// A four-character code.
pub(super) type Kind = [u8; 4];

/// A defect and the file offset it is at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defect {
    pub(super) offset: u64,
    pub(super) what: &'static str,
}

pub(super) type Parsed<T> = Result<T, Defect>;

/// A box whose content is in memory.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    pub(super) kind: Kind,
    /// File offset of the content.
    pub(super) start: u64,
    pub(super) content: Bytes,
}

impl Atom {
    pub(super) fn fields(&self) -> Fields {
        Fields { rest: self.content.clone(), offset: self.start }
    }

    /// The boxes inside, after `skip` bytes of fields.
    pub(super) fn children(&self, skip: usize) -> Parsed<Children> {
        let mut fields = self.fields();
        fields.take(skip, "fields before the inner boxes")?;
        Ok(Children { fields })
    }

    /// The first inner box of a kind.
    pub(super) fn child(&self, kind: Kind) -> Parsed<Option<Self>> {
        self.children(0)?.find(kind)
    }

    /// The first inner box of a kind, which must be there.
    pub(super) fn require(&self, kind: Kind, what: &'static str) -> Parsed<Self> {
        self.child(kind)?.ok_or(Defect { offset: self.start, what })
    }
}

/// Walks the boxes inside a box.
pub(super) struct Children {
    fields: Fields,
}

impl Children {
    pub(super) fn find(self, kind: Kind) -> Parsed<Option<Atom>> {
        for atom in self {
            let atom = atom?;
            if atom.kind == kind {
                return Ok(Some(atom));
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Parsed<Atom> {
        let size = u64::from(self.fields.u32("box size")?);
        let kind = self.fields.array("box type")?;
        let left = match size {
            0 => self.fields.rest.len(),
            1 => to_size(self.fields.u64("large box size")?.checked_sub(16), &self.fields)?,
            _ => to_size(size.checked_sub(8), &self.fields)?,
        };
        let start = self.fields.offset;
        let content = self.fields.take(left, "a box that reaches beyond the one around it")?;
        Ok(Atom { kind, start, content })
    }
}

fn to_size(size: Option<u64>, fields: &Fields) -> Parsed<usize> {
    let size = size.and_then(|size| usize::try_from(size).ok());
    size.ok_or(Defect { offset: fields.offset, what: "an impossible box size" })
}

impl Iterator for Children {
    type Item = Parsed<Atom>;

    fn next(&mut self) -> Option<Parsed<Atom>> {
        // Some writers end a container with four zero bytes.
        if self.fields.rest.len() < 8 {
            return None;
        }
        let atom = self.read();
        if atom.is_err() {
            self.fields.rest.clear();
        }
        Some(atom)
    }
}

/// Reads fields one after the other; never beyond the box.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    rest: Bytes,
    offset: u64,
}

impl Fields {
    pub(super) fn take(&mut self, count: usize, what: &'static str) -> Parsed<Bytes> {
        if count > self.rest.len() {
            return Err(Defect { offset: self.offset, what });
        }
        self.offset += count as u64;
        Ok(self.rest.split_to(count))
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Parsed<[u8; N]> {
        let bytes = self.take(N, what)?;
        Ok(*bytes.first_chunk().expect("N bytes were taken"))
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Parsed<u16> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Parsed<u32> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Parsed<i32> {
        self.array(what).map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Parsed<u64> {
        self.array(what).map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Parsed<i64> {
        self.array(what).map(i64::from_be_bytes)
    }

    /// Version and flags of a full box (4.2.2).
    pub(super) fn version(&mut self) -> Parsed<(u8, u32)> {
        let word = self.u32("version and flags")?;
        Ok((word.to_be_bytes()[0], word & 0x00ff_ffff))
    }

    /// A count and as many entries of `entry_bytes`.
    pub(super) fn table(&mut self, entry_bytes: usize, what: &'static str) -> Parsed<Table> {
        let count = self.u32(what)?;
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(entry_bytes));
        let entries = self.take(bytes.unwrap_or(usize::MAX), what)?;
        Ok(Table { entries, entry_bytes, count })
    }

    pub(super) fn rest(self) -> Bytes {
        self.rest
    }
}

/// Equal entries of a table, left where they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    entries: Bytes,
    entry_bytes: usize,
    pub(super) count: u32,
}

impl Table {
    /// The 32-bit word at `word` of entry `index`.
    pub(super) fn word(&self, index: u32, word: usize) -> Option<u32> {
        let at = usize::try_from(index).ok()?.checked_mul(self.entry_bytes)?.checked_add(word * 4)?;
        self.entries.get(at..at + 4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Entry `index` as an offset of four or eight bytes.
    pub(super) fn offset(&self, index: u32) -> Option<u64> {
        let high = u64::from(self.word(index, 0)?);
        if self.entry_bytes == 4 { Some(high) } else { Some(high << 32 | u64::from(self.word(index, 1)?)) }
    }
}
