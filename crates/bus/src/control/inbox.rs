//! What a publisher makes of a record of the control topic. No I/O, no clock.

use super::MAX_REQUEST_AGE;
use lumenbus_frame::{CameraId, StreamId};
use lumenbus_wire::{ControlRequest, RequestKind};
use std::time::Duration;

/// Records looked at in a second; what comes beyond is skipped. A viewer of 500 cameras that starts asks 500 times.
const MAX_RECORDS_A_SECOND: u32 = 2_000;
const SECOND: u64 = 1_000_000_000;

/// Why a record is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignored {
    /// Not a request, or of a version or kind that is not known here.
    Foreign,
    /// Asked too long ago.
    Stale,
}

/// The stream of which a keyframe is wanted.
pub(super) fn keyframe_of(key: Option<&[u8]>, value: Option<&[u8]>, now_unix_nanos: i64) -> Result<StreamId, Ignored> {
    let camera = key.and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| CameraId::new(key).ok());
    let request = value.and_then(|value| ControlRequest::decode(value).ok());
    let (Some(camera), Some(request)) = (camera, request) else { return Err(Ignored::Foreign) };
    if request.kind != RequestKind::Keyframe {
        return Err(Ignored::Foreign);
    }
    let age_nanos = u64::try_from(now_unix_nanos.saturating_sub(request.asked_unix_nanos)).unwrap_or(0);
    if Duration::from_nanos(age_nanos) > MAX_REQUEST_AGE {
        return Err(Ignored::Stale);
    }
    Ok(StreamId { camera, topic: request.topic, name: request.stream })
}

/// Counts records by the second.
#[derive(Debug, Default)]
pub(super) struct FloodGuard {
    second_began: u64,
    records: u32,
}

impl FloodGuard {
    /// Another record at this time (monotonic nanoseconds). When there were too many: how long to look away.
    pub(super) fn note(&mut self, now_nanos: u64) -> Option<Duration> {
        let into = now_nanos.saturating_sub(self.second_began);
        if into >= SECOND {
            (self.second_began, self.records) = (now_nanos, 0);
        }
        self.records += 1;
        if self.records <= MAX_RECORDS_A_SECOND {
            return None;
        }
        self.records = 0;
        Some(Duration::from_nanos(SECOND.saturating_sub(into)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: RequestKind) -> ControlRequest {
        ControlRequest {
            request_id: 7,
            kind,
            topic: "raw_video".parse().unwrap(),
            stream: "main".parse().unwrap(),
            asked_unix_nanos: 50_000_000_000,
            by: "a test".to_owned(),
        }
    }

    #[test]
    fn only_fresh_requests_for_keyframes_count() {
        let keyframe = request(RequestKind::Keyframe).encode();
        let at = |key: &[u8], value: &[u8], second: i64| keyframe_of(Some(key), Some(value), second * 1_000_000_000);
        let gate = at(b"gate", &keyframe, 51).unwrap();
        assert_eq!(gate.to_string(), StreamId::main("gate".parse().unwrap(), "raw_video".parse().unwrap()).to_string());
        assert!(at(b"gate", &keyframe, 60).is_ok());
        assert_eq!(at(b"gate", &keyframe, 61), Err(Ignored::Stale));
        assert!(at(b"gate", &keyframe, -1_000).is_ok(), "the asker's clock is ahead");
        assert_eq!(keyframe_of(Some(b"gate"), Some(&keyframe), i64::MAX), Err(Ignored::Stale));
        assert_eq!(at(b"a b", &keyframe, 51), Err(Ignored::Foreign));
        assert_eq!(at(b"\xff", &keyframe, 51), Err(Ignored::Foreign));
        assert_eq!(at(b"gate", &keyframe[..9], 51), Err(Ignored::Foreign));
        assert_eq!(at(b"gate", &request(RequestKind::Rate).encode(), 51), Err(Ignored::Foreign));
        assert_eq!(keyframe_of(None, Some(&keyframe), 0), Err(Ignored::Foreign));
        assert_eq!(keyframe_of(Some(b"gate"), None, 0), Err(Ignored::Foreign));
    }

    #[test]
    fn a_flood_is_looked_away_from_for_the_rest_of_its_second() {
        let mut guard = FloodGuard::default();
        let base = 5 * SECOND;
        let looks_away = |guard: &mut FloodGuard, records: u32, now| {
            (0..records).filter_map(|_| guard.note(now)).collect::<Vec<_>>()
        };
        assert_eq!(looks_away(&mut guard, 2_000, base), []);
        assert_eq!(looks_away(&mut guard, 2_000, base + SECOND), []);
        let quarter = Duration::from_millis(750);
        assert_eq!(looks_away(&mut guard, 1, base + SECOND + SECOND / 4), [quarter]);
        assert_eq!(looks_away(&mut guard, 1, base + 2 * SECOND), []);
    }
}
