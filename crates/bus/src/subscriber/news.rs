//! What the directory says anew, on its way to the workers.

use super::queue::lock;
use lumenbus_frame::CameraId;
use lumenbus_wire::StreamEntry;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Most changes kept; a worker that is further behind reads the directory anew.
const MAX_CHANGES: usize = 1_024;

/// A stream's entry and whose it is.
pub(crate) type Entry = (CameraId, StreamEntry);

#[derive(Debug, Default)]
pub(crate) struct News(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Changes that are not kept any more.
    gone: u64,
    changes: VecDeque<Entry>,
}

impl News {
    pub(crate) fn add(&self, camera: &CameraId, entry: &StreamEntry) {
        let mut kept = lock(&self.0);
        if kept.changes.len() >= MAX_CHANGES {
            kept.changes.pop_front();
            kept.gone += 1;
        }
        kept.changes.push_back((camera.clone(), entry.clone()));
    }

    /// The changes after the first `seen` ones, `None` when some of them are not kept any more; `seen` counts them.
    pub(crate) fn after(&self, seen: &mut u64) -> Option<Vec<Entry>> {
        let kept = lock(&self.0);
        let skipped = seen.checked_sub(kept.gone).and_then(|skipped| usize::try_from(skipped).ok());
        *seen = kept.gone + kept.changes.len() as u64;
        skipped.map(|skipped| kept.changes.iter().skip(skipped).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{Codec, Epoch, StreamName, TopicName};
    use lumenbus_wire::StreamState;

    fn entry(epoch: u64) -> StreamEntry {
        StreamEntry {
            topic: TopicName::new("raw_images").unwrap(),
            name: StreamName::main(),
            partition: 0,
            epoch: Epoch(epoch),
            codec: Codec::Jpeg,
            state: StreamState::Live,
            last_seq: None,
            next_offset: Some(epoch),
            gaps: Vec::new(),
            updated_unix_nanos: 0,
            parameters: None,
            repeat: None,
            moved_from: None,
        }
    }

    #[test]
    fn each_change_comes_once_and_whoever_is_too_far_behind_is_told() {
        let (news, camera) = (News::default(), CameraId::new("gate").unwrap());
        let (mut quick, mut slow) = (0, 0);
        let epochs = |changes: Option<Vec<Entry>>| {
            changes.map(|changes| changes.iter().map(|(_, entry)| entry.epoch.0).collect::<Vec<_>>())
        };
        assert_eq!(epochs(news.after(&mut quick)), Some(vec![]));
        let most = MAX_CHANGES as u64;
        for epoch in 0..most {
            news.add(&camera, &entry(epoch));
        }
        assert_eq!(epochs(news.after(&mut quick)), Some((0..most).collect()));
        news.add(&camera, &entry(most));
        assert_eq!(epochs(news.after(&mut quick)), Some(vec![most]));
        assert_eq!(epochs(news.after(&mut slow)), None, "one is gone");
        assert_eq!(epochs(news.after(&mut slow)), Some(vec![]), "it has read the directory since");
    }
}
