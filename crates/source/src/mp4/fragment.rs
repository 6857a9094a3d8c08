//! Movie fragments (ISO/IEC 14496-12, 8.8).

use super::atom::{Atom, Defect, Fields, Parsed};
use super::table::Sample;
use std::collections::VecDeque;

/// Most samples of a run that states nothing about each of them.
const MAX_UNIFORM_SAMPLES: u32 = 1 << 16;

/// What samples have when their run does not say (`trex`, `tfhd`).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Defaults {
    pub(super) description: u32,
    pub(super) duration: u32,
    bytes: u32,
    flags: u32,
}

impl Defaults {
    /// Reads `trex` (8.8.3) when it is the track's.
    pub(super) fn parse(trex: &Atom, track_id: u32) -> Parsed<Option<Self>> {
        let mut fields = trex.fields();
        fields.version()?;
        if fields.u32("track id")? != track_id {
            return Ok(None);
        }
        Ok(Some(Self {
            description: fields.u32("sample description")?.saturating_sub(1),
            duration: fields.u32("sample duration")?,
            bytes: fields.u32("sample size")?,
            flags: fields.u32("sample flags")?,
        }))
    }
}

/// A run of samples that lie one after the other (8.8.8).
#[derive(Debug)]
struct Run {
    fields: Fields,
    flags: u32,
    left: u32,
    first_flags: Option<u32>,
    offset: Option<u64>,
    defaults: Defaults,
}

/// The runs of one fragment that have not been read yet.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    runs: VecDeque<Run>,
    offset: u64,
    decode: i64,
}

impl Fragment {
    /// Takes the runs of `track_id` from a `moof` whose first byte is at `moof_offset`.
    pub(super) fn parse(&mut self, moof: &Atom, moof_offset: u64, track_id: u32, trex: Defaults) -> Parsed<()> {
        for traf in moof.children(0)? {
            let traf = traf?;
            if traf.kind == *b"traf" {
                self.parse_track(&traf, moof_offset, track_id, trex)?;
            }
        }
        Ok(())
    }

    fn parse_track(&mut self, traf: &Atom, moof_offset: u64, track_id: u32, trex: Defaults) -> Parsed<()> {
        let header = traf.require(*b"tfhd", "a track fragment without header")?;
        let mut fields = header.fields();
        let (_, flags) = fields.version()?;
        if fields.u32("track id")? != track_id {
            return Ok(());
        }
        let base = if flags & 1 != 0 { fields.u64("base data offset")? } else { moof_offset };
        let mut defaults = trex;
        if flags & 2 != 0 {
            defaults.description = fields.u32("sample description")?.saturating_sub(1);
        }
        for (bit, value) in [(8, &mut defaults.duration), (0x10, &mut defaults.bytes), (0x20, &mut defaults.flags)] {
            if flags & bit != 0 {
                *value = fields.u32("fragment defaults")?;
            }
        }
        if let Some(time) = traf.child(*b"tfdt")? {
            let mut fields = time.fields();
            let (version, _) = fields.version()?;
            let decode =
                if version == 0 { u64::from(fields.u32("decode time")?) } else { fields.u64("decode time")? };
            self.decode = i64::try_from(decode).unwrap_or(i64::MAX);
        }
        self.offset = base;
        for run in traf.children(0)? {
            let run = run?;
            if run.kind == *b"trun" {
                self.runs.push_back(parse_run(&run, base, defaults)?);
            }
        }
        Ok(())
    }

    /// The next sample in decode order.
    pub(super) fn next(&mut self) -> Parsed<Option<Sample>> {
        while let Some(run) = self.runs.front_mut() {
            if run.left == 0 {
                self.runs.pop_front();
                continue;
            }
            if let Some(offset) = run.offset.take() {
                self.offset = offset;
            }
            let (sample, duration) = run.read(self.offset, self.decode)?;
            self.offset = self.offset.saturating_add(u64::from(sample.bytes));
            self.decode = self.decode.saturating_add(i64::from(duration));
            return Ok(Some(sample));
        }
        Ok(None)
    }
}

fn parse_run(trun: &Atom, base: u64, defaults: Defaults) -> Parsed<Run> {
    let mut fields = trun.fields();
    let (_, flags) = fields.version()?;
    let left = fields.u32("sample count")?;
    let offset = if flags & 1 == 0 {
        None
    } else {
        let offset = base.checked_add_signed(i64::from(fields.i32("data offset")?));
        Some(offset.ok_or(Defect { offset: trun.start, what: "a fragment's data before the file's beginning" })?)
    };
    let first_flags = if flags & 4 == 0 { None } else { Some(fields.u32("first sample flags")?) };
    if flags & 0xf00 == 0 && left > MAX_UNIFORM_SAMPLES {
        return Err(Defect { offset: trun.start, what: "more samples in a run than any recording has" });
    }
    Ok(Run { fields, flags, left, first_flags, offset, defaults })
}

impl Run {
    /// The next sample and its duration.
    fn read(&mut self, offset: u64, decode: i64) -> Parsed<(Sample, u32)> {
        let mut values = [self.defaults.duration, self.defaults.bytes, self.defaults.flags, 0];
        for (at, value) in values.iter_mut().enumerate() {
            if self.flags & 0x100 << at != 0 {
                *value = self.fields.u32("a fragment's sample")?;
            }
        }
        let [duration, bytes, stated, composition] = values;
        let flags = self.first_flags.take().unwrap_or(stated);
        self.left -= 1;
        let sample = Sample {
            offset,
            bytes,
            decode,
            composition: composition.cast_signed(),
            is_sync: flags & 0x1_0000 == 0,
            description: self.defaults.description,
        };
        Ok((sample, duration))
    }
}
