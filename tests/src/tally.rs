//! Counts what a subscriber hands over and checks the promises at every event.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use crate::load::{Content, PATIENCE};
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole, Notice, Subscriber};
use lumenbus_frame::{FrameId, Gap, GapReason, Seq, SeqRange, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What came of one epoch.
#[derive(Debug, Default, Clone)]
pub struct EpochTally {
    /// Frames handed over in their turn.
    pub delivered: BTreeSet<u64>,
    /// Frames in gaps of known length.
    pub explained: BTreeMap<u64, GapReason>,
    /// Frames told to equal the one before.
    pub repeated: BTreeSet<u64>,
    /// Gaps of unknown length.
    pub open_gaps: Vec<(u64, GapReason)>,
    /// The last seq, once the end was told.
    pub end: Option<Option<u64>>,
}

/// What came of one stream.
#[derive(Debug, Default, Clone)]
pub struct StreamTally {
    /// Per epoch.
    pub epochs: BTreeMap<u64, EpochTally>,
    /// What the frames hold.
    pub contents: BTreeMap<FrameId, Content>,
    /// Roles in order of delivery.
    pub roles: Vec<(FrameId, FrameRole)>,
    /// Frames that came with a jump before them.
    pub discontinuities: Vec<FrameId>,
    /// `offline` events.
    pub offline: u64,
    last: Option<FrameId>,
    is_decodable: bool,
}

impl StreamTally {
    /// Every frame handed over in its turn.
    pub fn delivered(&self) -> BTreeSet<FrameId> {
        let of = |(epoch, tally): (&u64, &EpochTally)| {
            let epoch = lumenbus_frame::Epoch(*epoch);
            tally.delivered.iter().map(move |seq| FrameId { epoch, seq: Seq(*seq) }).collect::<Vec<_>>()
        };
        self.epochs.iter().flat_map(of).collect()
    }

    /// Frames in gaps, by reason.
    pub fn missing(&self) -> BTreeMap<GapReason, u64> {
        let mut missing = BTreeMap::new();
        for reason in self.epochs.values().flat_map(|epoch| epoch.explained.values()) {
            *missing.entry(*reason).or_default() += 1;
        }
        missing
    }

    /// Frames told to equal the one before.
    pub fn repeated(&self) -> u64 {
        self.epochs.values().map(|epoch| epoch.repeated.len() as u64).sum()
    }

    fn has_ended(&self) -> bool {
        self.epochs.last_key_value().is_some_and(|(_, epoch)| epoch.end.is_some())
    }
}

/// How a reader comes to its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Entrance {
    /// At keyframes.
    #[default]
    AtKeyframes,
    /// Where another member of the group left off: in the middle of a GOP as well.
    WhereAnotherLeft,
}

/// Everything one subscriber handed over.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// By stream.
    pub streams: BTreeMap<StreamId, StreamTally>,
    /// Notices in order.
    pub notices: Vec<Notice>,
    entrance: Entrance,
}

impl Tally {
    /// For a member of a group.
    pub fn of_member() -> Self {
        Self { entrance: Entrance::WhereAnotherLeft, ..Self::default() }
    }

    /// Counts one event.
    ///
    /// # Panics
    /// When it breaks a promise.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Frame(frame) => self.frame(frame),
            Event::Gap { stream, gap } => gap_in(self.stream(stream), stream, gap),
            Event::Repeat { stream, epoch, range } => {
                let tally = self.stream(stream).epochs.entry(epoch.0).or_default();
                for seq in seqs(*range) {
                    assert!(is_new(tally, seq), "{stream}: repeated {seq} was told before");
                    tally.repeated.insert(seq);
                }
            }
            Event::Offline { stream, .. } => self.stream(stream).offline += 1,
            Event::End { stream, epoch, last_seq } => {
                let tally = self.stream(stream).epochs.entry(epoch.0).or_default();
                assert_eq!(tally.end, None, "{stream}: a second end of {epoch}");
                tally.end = Some(last_seq.map(|seq| seq.0));
                let untold = untold(tally);
                assert!(untold.is_empty(), "{stream}: the end of {epoch} came before {untold:?} were told");
            }
            Event::Notice(notice) => self.notices.push(notice.clone()),
            other => panic!("an event these tests do not know: {other:?}"),
        }
    }

    fn stream(&mut self, stream: &StreamId) -> &mut StreamTally {
        let is_decodable = self.entrance == Entrance::WhereAnotherLeft;
        let new = || StreamTally { is_decodable, ..StreamTally::default() };
        self.streams.entry(stream.clone()).or_insert_with(new)
    }

    fn frame(&mut self, frame: &DeliveredFrame) {
        let (id, stream) = (frame.id(), frame.stream.as_ref());
        let content = Content::of(&frame.payload);
        let tally = self.stream(stream);
        tally.roles.push((id, frame.role));
        if frame.role == FrameRole::Preroll {
            return;
        }
        assert!(tally.last.is_none_or(|last| last < id), "{stream}: {id:?} came after {:?}", tally.last);
        let is_next = tally.last.is_some_and(|last| last.epoch == id.epoch && last.seq.next() == id.seq);
        let epoch = tally.epochs.entry(id.epoch.0).or_default();
        assert!(is_new(epoch, id.seq.0), "{stream}: {id:?} was told as missing before");
        epoch.delivered.insert(id.seq.0);
        if frame.header.is_keyframe {
            tally.is_decodable = true;
        }
        // A hole without a gap so far is one as well.
        let is_continued = is_next || tally.last.is_none() || frame.header.is_keyframe || !epoch.explained.is_empty();
        assert!(tally.is_decodable && is_continued, "{stream}: {id:?} cannot be decoded");
        tally.last = Some(id);
        if frame.header.is_discontinuity {
            tally.discontinuities.push(id);
        }
        if let Some(content) = content {
            tally.contents.insert(id, content);
        }
    }

    /// Reads until it is so.
    ///
    /// # Panics
    /// When it does not become so, or a promise is broken.
    pub fn read_until(&mut self, subscriber: &mut Subscriber, what: &str, is_so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            if let Some(event) = subscriber.recv(Duration::from_millis(100)).unwrap() {
                self.note(&event);
            }
            assert!(start.elapsed() < PATIENCE, "did not happen: {what}; {}", self.summary());
        }
    }

    /// One line per epoch.
    fn summary(&self) -> String {
        let mut text = format!("{} notices: {:?}", self.notices.len(), self.notices.iter().take(5).collect::<Vec<_>>());
        for (stream, tally) in &self.streams {
            for (epoch, of) in &tally.epochs {
                let (delivered, last) = (of.delivered.len(), of.delivered.last());
                let (missing, open, end) = (tally.missing(), &of.open_gaps, of.end);
                text += &format!("\n{stream} {epoch}: {delivered} up to {last:?}, {missing:?}, {open:?}, end {end:?}");
            }
        }
        text
    }

    /// Reads until so many streams have ended.
    ///
    /// # Panics
    /// As [`read_until`](Self::read_until).
    pub fn read_to_end(&mut self, subscriber: &mut Subscriber, streams: usize) {
        self.read_until(subscriber, "every stream ends", |tally| tally.ended() == streams);
    }

    /// Streams whose newest epoch has ended.
    pub fn ended(&self) -> usize {
        self.streams.values().filter(|stream| stream.has_ended()).count()
    }

    /// Frames handed over in their turn.
    pub fn frames(&self) -> usize {
        self.streams.values().flat_map(|stream| stream.epochs.values()).map(|epoch| epoch.delivered.len()).sum()
    }

    /// Every frame of every ended epoch was handed over, explained or repeated, and nothing is unexplained.
    ///
    /// # Panics
    /// When not.
    pub fn assert_complete(&self) {
        self.assert_explained();
        for (stream, tally) in &self.streams {
            for (epoch, tally) in &tally.epochs {
                let Some(last) = tally.end else { continue };
                let published = last.map_or(0, |last| last + 1);
                let known = |seq: &u64| !is_new(tally, *seq);
                let unknown: Vec<u64> = (0..published).filter(|seq| !known(seq)).collect();
                assert!(unknown.is_empty(), "{stream} epoch {epoch}: {unknown:?} neither delivered nor explained");
                let told = tally.delivered.len() + tally.explained.len() + tally.repeated.len();
                assert_eq!(told as u64, published, "{stream} epoch {epoch}: more was told than published");
            }
        }
    }

    /// No gap is without a reason.
    ///
    /// # Panics
    /// When one is.
    pub fn assert_explained(&self) {
        for (stream, tally) in &self.streams {
            for (epoch, tally) in &tally.epochs {
                let open = tally.open_gaps.iter().map(|(_, reason)| reason);
                let unexplained = tally.explained.values().chain(open).filter(|r| **r == GapReason::Unexplained);
                assert_eq!(unexplained.count(), 0, "{stream} epoch {epoch}: {tally:?}");
            }
        }
    }

    /// The stream has exactly these frames.
    ///
    /// # Panics
    /// When not.
    pub fn assert_contents(&self, stream: &StreamId, sent: &BTreeMap<FrameId, Content>) {
        let tally = self.streams.get(stream).unwrap_or_else(|| panic!("nothing came of {stream}"));
        let missing: Vec<_> = sent.keys().filter(|id| !tally.contents.contains_key(id)).take(5).collect();
        assert!(missing.is_empty(), "{stream}: {missing:?} and more are missing; {:?}", tally.missing());
        assert!(tally.contents == *sent, "{stream}: frames under other ids than they were sent with");
    }
}

fn seqs(range: SeqRange) -> std::ops::RangeInclusive<u64> {
    range.first.0..=range.last.0
}

fn is_new(tally: &EpochTally, seq: u64) -> bool {
    !tally.delivered.contains(&seq) && !tally.explained.contains_key(&seq) && !tally.repeated.contains(&seq)
}

/// Seqs of an ended epoch of which nothing is known, from the first one on of which something is.
fn untold(tally: &EpochTally) -> Vec<u64> {
    let delivered = tally.delivered.first();
    let first = delivered.into_iter().chain(tally.explained.keys().next()).chain(tally.repeated.first()).min();
    let (Some(first), Some(Some(last))) = (first, tally.end) else { return Vec::new() };
    (*first..=last).filter(|seq| is_new(tally, *seq)).collect()
}

fn gap_in(tally: &mut StreamTally, stream: &StreamId, gap: &Gap) {
    let number = gap.epoch.unwrap_or_else(|| panic!("{stream}: a gap without epoch: {gap}"));
    let epoch = tally.epochs.entry(number.0).or_default();
    // What is told of frames before those that came already breaks nothing any more.
    let is_ahead =
        |last: FrameId| number > last.epoch || number == last.epoch && gap.last.is_none_or(|end| end > last.seq);
    if !gap.is_discardable && tally.last.is_none_or(is_ahead) {
        tally.is_decodable = false;
    }
    let Some(last) = gap.last else {
        return epoch.open_gaps.push((gap.first.0, gap.reason));
    };
    for seq in seqs(SeqRange { first: gap.first, last }) {
        assert!(is_new(epoch, seq), "{stream}: {seq} in gap {gap} was told before");
        epoch.explained.insert(seq, gap.reason);
    }
}
