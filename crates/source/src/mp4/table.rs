//! Sample tables: where each sample lies and when it is shown (ISO/IEC 14496-12, 8.6 and 8.7).

use super::atom::{Atom, Defect, Parsed, Table};

/// More samples than 25 days at 30/s: beyond it a table is taken for hostile.
const MAX_SAMPLES: u32 = 1 << 26;

/// One coded sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) offset: u64,
    pub(super) bytes: u32,
    /// Decode time in ticks of the track.
    pub(super) decode: i64,
    /// Presentation time minus decode time.
    pub(super) composition: i32,
    pub(super) is_sync: bool,
    /// Index into the sample descriptions, from 0.
    pub(super) description: u32,
}

/// The boxes of `stbl`, read entry by entry and never expanded.
#[derive(Debug, Clone, Default)]
pub(super) struct SampleTable {
    times: Table,
    compositions: Table,
    chunks: Table,
    chunk_offsets: Table,
    sync: Option<Table>,
    fixed_bytes: u32,
    sizes: Table,
    pub(super) samples: u32,
}

impl SampleTable {
    pub(super) fn parse(stbl: &Atom) -> Parsed<Self> {
        let mut table = Self::default();
        for atom in stbl.children(0)? {
            let atom = atom?;
            let mut fields = atom.fields();
            match &atom.kind {
                b"stts" => (_, table.times) = (fields.version()?, fields.table(8, "decode times")?),
                b"ctts" => (_, table.compositions) = (fields.version()?, fields.table(8, "composition times")?),
                b"stsc" => (_, table.chunks) = (fields.version()?, fields.table(12, "chunk runs")?),
                b"stco" => (_, table.chunk_offsets) = (fields.version()?, fields.table(4, "chunk offsets")?),
                b"co64" => (_, table.chunk_offsets) = (fields.version()?, fields.table(8, "chunk offsets")?),
                b"stss" => {
                    fields.version()?;
                    table.sync = Some(fields.table(4, "sync samples")?);
                }
                b"stsz" => table.parse_sizes(&atom)?,
                b"stz2" => return Err(Defect { offset: atom.start, what: "compact sample sizes (stz2)" }),
                _ => {}
            }
        }
        Ok(table)
    }

    fn parse_sizes(&mut self, atom: &Atom) -> Parsed<()> {
        let mut fields = atom.fields();
        fields.version()?;
        self.fixed_bytes = fields.u32("sample size")?;
        if self.fixed_bytes == 0 {
            self.sizes = fields.table(4, "sample sizes")?;
            self.samples = self.sizes.count;
        } else {
            self.samples = fields.u32("sample count")?;
        }
        if self.samples > MAX_SAMPLES {
            return Err(Defect { offset: atom.start, what: "more samples than any recording has" });
        }
        Ok(())
    }

    /// Duration of the first samples and how many share it.
    pub(super) fn first_duration(&self) -> Option<(u32, u32)> {
        Some((self.times.word(0, 1)?, self.times.word(0, 0)?))
    }

    fn bytes_of(&self, sample: u32) -> Option<u32> {
        if self.fixed_bytes == 0 { self.sizes.word(sample, 0) } else { Some(self.fixed_bytes) }
    }
}

/// A place in a table of (count, value) runs.
#[derive(Debug, Clone, Copy, Default)]
struct RunCursor {
    entry: u32,
    used: u32,
}

impl RunCursor {
    /// The value for the next sample; `None` behind the table's end.
    fn next(&mut self, table: &Table) -> Option<u32> {
        while let Some(count) = table.word(self.entry, 0) {
            if self.used < count {
                self.used += 1;
                return table.word(self.entry, 1);
            }
            self.entry += 1;
            self.used = 0;
        }
        None
    }
}

/// Walks the samples of a table in decode order.
#[derive(Debug, Clone, Default)]
pub(super) struct SampleCursor {
    sample: u32,
    times: RunCursor,
    compositions: RunCursor,
    sync_entry: u32,
    decode: i64,
    chunk: u32,
    chunk_run: u32,
    left_in_chunk: u32,
    offset: u64,
    description: u32,
    is_done: bool,
}

impl SampleCursor {
    /// The next sample; `None` after the last, or where the table ends.
    pub(super) fn next(&mut self, table: &SampleTable) -> Option<Sample> {
        if self.is_done || self.sample >= table.samples {
            return None;
        }
        let sample = self.read(table);
        self.is_done = sample.is_none();
        sample
    }

    fn read(&mut self, table: &SampleTable) -> Option<Sample> {
        while self.left_in_chunk == 0 {
            self.open_chunk(table)?;
        }
        let bytes = table.bytes_of(self.sample)?;
        let sample = Sample {
            offset: self.offset,
            bytes,
            decode: self.decode,
            // Version 0 is unsigned, but no real offset needs the top bit and some writers store negative ones.
            composition: self.compositions.next(&table.compositions).unwrap_or(0).cast_signed(),
            is_sync: self.is_sync(table),
            description: self.description,
        };
        self.left_in_chunk -= 1;
        self.offset = self.offset.saturating_add(u64::from(bytes));
        self.decode = self.decode.saturating_add(i64::from(self.times.next(&table.times).unwrap_or(0)));
        self.sample += 1;
        Some(sample)
    }

    fn open_chunk(&mut self, table: &SampleTable) -> Option<()> {
        self.offset = table.chunk_offsets.offset(self.chunk)?;
        self.chunk += 1;
        while table.chunks.word(self.chunk_run + 1, 0).is_some_and(|first| first <= self.chunk) {
            self.chunk_run += 1;
        }
        self.left_in_chunk = table.chunks.word(self.chunk_run, 1)?;
        self.description = table.chunks.word(self.chunk_run, 2)?.saturating_sub(1);
        Some(())
    }

    fn is_sync(&mut self, table: &SampleTable) -> bool {
        let Some(sync) = &table.sync else { return true };
        let number = self.sample + 1;
        while sync.word(self.sync_entry, 0).is_some_and(|entry| entry < number) {
            self.sync_entry += 1;
        }
        sync.word(self.sync_entry, 0) == Some(number)
    }
}
