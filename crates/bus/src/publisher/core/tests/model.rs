//! Any sequence of what may happen: everything submitted is delivered or explained, in order.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    Submit { bytes: usize, is_keyframe: bool },
    Lose(u64),
    Repeat(u64),
    Offline,
    Acknowledge,
    LoseRecord,
    Full(bool),
    Wait(u64),
    Move,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0..4_000_usize, 1 => 20_000..60_000_usize];
    prop_oneof![
        10 => (size, prop::bool::weighted(0.25)).prop_map(|(bytes, is_keyframe)| Step::Submit { bytes, is_keyframe }),
        1 => (1..4_u64).prop_map(Step::Lose),
        1 => (1..4_u64).prop_map(Step::Repeat),
        1 => Just(Step::Offline),
        8 => Just(Step::Acknowledge),
        2 => Just(Step::LoseRecord),
        2 => prop::bool::weighted(0.3).prop_map(Step::Full),
        2 => (1..1_500_u64).prop_map(Step::Wait),
        1 => Just(Step::Move),
        1 => Just(Step::Restart),
    ]
}

impl Bench {
    fn take(&mut self, step: &Step, epochs: &mut u64) {
        match *step {
            Step::Submit { bytes, is_keyframe } => drop(self.submit(frame(bytes, is_keyframe))),
            Step::Lose(count) => self.core.lose(count, GapReason::SourceLost),
            Step::Repeat(count) => self.core.repeat(count, self.now),
            Step::Offline => self.core.offline("test", self.now),
            Step::Acknowledge => drop(self.acknowledge()),
            Step::LoseRecord => drop(self.lose_record()),
            Step::Full(is_full) => self.client.is_full.set(is_full),
            Step::Wait(millis) => self.wait(millis),
            Step::Move => {
                *epochs += 1;
                let partition = u32::try_from(*epochs % 12).unwrap();
                self.core.move_to(Moved { epoch: Epoch(*epochs << 16), partition });
            }
            Step::Restart => {
                while self.lose_record() {}
                self.restart(epochs);
            }
        }
        self.pump();
        self.account();
    }
}

/// What a reader of all partitions learns: frames delivered, and frames explained, by epoch.
#[derive(Default)]
struct Seen {
    frames: BTreeMap<u64, BTreeSet<u64>>,
    explained: BTreeMap<u64, BTreeSet<u64>>,
    ends: BTreeMap<u64, Option<u64>>,
}

impl Seen {
    fn read(log: &[Stored]) -> Self {
        let mut seen = Self::default();
        let mut assembler = ChunkAssembler::new(MAX_FRAME_BYTES);
        for (offset, record) in log.iter().enumerate() {
            if record.header.is_some() {
                seen.explain(&record.header());
            }
            match record.opened() {
                Opened::Frame(frame) => seen.frame(frame.header.id),
                Opened::Chunk { header, header_bytes, part } => {
                    let pushed = assembler.push(header, header_bytes, offset as u64, part);
                    if let Assembled::Complete { record, .. } = pushed {
                        seen.frame(record.header.id);
                    }
                }
                Opened::Batch { items, .. } => {
                    items.iter().for_each(|item| seen.frame(item.header.id));
                }
                Opened::Control(record) => seen.control(&record.header, &record.control),
                _ => {}
            }
        }
        seen
    }

    fn frame(&mut self, id: lumenbus_frame::FrameId) {
        assert!(self.frames.entry(id.epoch.0).or_default().insert(id.seq.0), "{id:?} twice");
    }

    fn explain(&mut self, header: &Header) {
        for gap in &header.gaps {
            let epoch = gap.epoch.unwrap_or(header.id.epoch).0;
            self.explained.entry(epoch).or_default().extend(gap.first.0..=gap.last.unwrap().0);
        }
    }

    fn control(&mut self, header: &Header, control: &Control) {
        match control {
            Control::Repeat(range) => {
                self.explained.entry(header.id.epoch.0).or_default().extend(range.first.0..=range.last.0);
            }
            Control::End { last_seq } => {
                self.ends.insert(header.id.epoch.0, last_seq.map(|seq| seq.0));
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn published_is_delivered_plus_explained(
        steps in prop::collection::vec(step(), 0..120),
        is_batching in any::<bool>(),
    ) {
        let wait = Duration::from_millis(5);
        let batching = is_batching.then_some(BatchLimits { frames: 4, bytes: 8_000, wait });
        let mut bench = bench(StreamLimits { batching, ..limits() });
        let mut epochs = 1;
        for step in &steps {
            bench.take(step, &mut epochs);
            prop_assert!(bench.core.queued_bytes() <= 3 * 100_000);
            prop_assert!(bench.total.used_bytes() == bench.core.in_flight_bytes());
        }
        bench.client.is_full.set(false);
        bench.finish();
        prop_assert!(bench.core.is_finished(), "{:?}", bench.core);
        prop_assert_eq!(bench.total.used_bytes(), 0);
        bench.account();

        let seen = Seen::read(&bench.log);
        let (mut submitted, mut delivered) = (0, 0);
        for (epoch, last) in &seen.ends {
            let frames = seen.frames.get(epoch).cloned().unwrap_or_default();
            let explained = seen.explained.get(epoch).cloned().unwrap_or_default();
            for seq in 0..last.map_or(0, |last| last + 1) {
                prop_assert!(frames.contains(&seq) || explained.contains(&seq), "{epoch} {seq} is unexplained");
                prop_assert!(frames.contains(&seq) != explained.contains(&seq), "{epoch} {seq} is both");
                submitted += 1;
            }
            delivered += frames.len() as u64;
        }
        // Epochs whose `end` was lost are the reader's `aborted`; the others add up exactly.
        if seen.ends.len() as u64 == u64::from(bench.core.run_count) {
            prop_assert_eq!(submitted, bench.core.submitted());
            prop_assert_eq!(delivered, bench.core.counts.acknowledged_frames);
        }
    }

    #[test]
    fn the_log_is_in_order(steps in prop::collection::vec(step(), 0..120)) {
        let mut bench = bench(limits());
        let mut epochs = 1;
        for step in &steps {
            bench.take(step, &mut epochs);
        }
        bench.finish();
        let mut last = BTreeMap::<u32, (u64, u64, u32)>::new();
        for record in &bench.log {
            let header = record.header();
            let index = header.chunk.as_ref().map_or(0, |chunk| chunk.index);
            let at = (header.id.epoch.0, header.id.seq.0, index);
            if let Some(before) = last.insert(record.partition, at) {
                prop_assert!(before <= at, "{before:?} before {at:?}");
            }
        }
    }
}
