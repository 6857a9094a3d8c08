//! Another time than now: playing what was recorded, pausing, and the way back.

use super::Session;
use super::playing::{Playing, Turn};
use super::watched::{Outgoing, Watched};
use crate::hub::{HubStream, millis, now_micros};
use crate::recordings::{Outcome, Tape, TapeWish};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

/// Recordings that one client plays, and threads that read for it, at the same time.
pub(super) const MAX_PLAYED: usize = 4;

impl Session {
    pub(super) fn play(&mut self, n: u16, id: u32, at_micros: i64, speed: f64) {
        match self.begin(n, id, at_micros, speed) {
            Ok(()) => {
                let answer = json!({
                    "type": "playback", "n": n, "id": id, "state": "playing", "at_ms": millis(at_micros), "speed": speed,
                });
                self.outbox.push_back(Outgoing::Text(answer.to_string().into()));
            }
            Err((code, message)) => {
                if let Some((_, watched)) = self.watched.get_mut(&n) {
                    watched.pause();
                }
                self.tell_failed(n, id, code, &message);
            }
        }
    }

    fn begin(&mut self, n: u16, id: u32, at_micros: i64, speed: f64) -> Result<(), (&'static str, String)> {
        let played = self.watched.iter().filter(|(other, (_, watched))| **other != n && watched.is_played()).count();
        let Some((stream, watched)) = self.watched.get_mut(&n) else {
            return Err(("not-watched", "the stream is not watched by this client".to_owned()));
        };
        if played >= MAX_PLAYED {
            return Err(("busy", format!("{MAX_PLAYED} recordings are played by this client already")));
        }
        let Some(stream) = stream.lock().id.clone() else {
            return Err(("no-footage", "nothing of this camera has been recorded".to_owned()));
        };
        // What was played before ends first: its thread gives its place back soon.
        watched.pause();
        let at_unix_nanos = at_micros.saturating_mul(1_000);
        let found = watched.has_boxes().then_some(n);
        let wish = TapeWish { stream: (*stream).clone(), at_unix_nanos, speed, found };
        let tape = Tape::start(&self.recordings, &self.tapes, wish, &self.wake).map_err(|refused| {
            let (_, code, message) = refused.parts();
            (code, message)
        })?;
        watched.play(Playing::new(id, Box::new(tape), at_micros, speed));
        Ok(())
    }

    pub(super) fn pause(&mut self, n: u16, id: u32) {
        let Some((_, watched)) = self.watched.get_mut(&n) else { return };
        watched.pause();
        self.tell_state(n, id, "paused");
    }

    pub(super) fn go_live(&mut self, n: u16, id: u32) {
        let Some((stream, watched)) = self.watched.get_mut(&n) else { return };
        if !watched.is_live() {
            let locked = stream.lock();
            watched.go_live(&locked);
            self.hub.ask_keyframe(&locked);
        }
        self.tell_state(n, id, "live");
    }

    fn tell_state(&mut self, n: u16, id: u32, state: &str) {
        let text = json!({ "type": "playback", "n": n, "id": id, "state": state }).to_string();
        self.outbox.push_back(Outgoing::Text(text.into()));
    }

    fn tell_failed(&mut self, n: u16, id: u32, code: &str, message: &str) {
        let text = json!({ "type": "playback", "n": n, "id": id, "state": "failed", "code": code, "message": message });
        self.outbox.push_back(Outgoing::Text(text.to_string().into()));
    }

    /// Recorded frames that are due go into the outbox, one of each stream.
    pub(super) fn fill_recorded(&mut self) {
        let now = Instant::now();
        self.next_turn = None;
        let turns: Vec<_> =
            self.watched.iter_mut().filter_map(|(n, (_, watched))| Some((*n, watched.turn(now)?))).collect();
        for (n, (id, turn)) in turns {
            match turn {
                Turn::Now => {
                    if let Some((_, watched)) = self.watched.get_mut(&n) {
                        watched.take_recorded(now_micros(), &mut self.outbox);
                    }
                }
                Turn::At(next) => self.next_turn = Some(self.next_turn.map_or(next, |known| known.min(next))),
                Turn::Wait if self.has_caught_up(n) => self.at_end(n, id),
                Turn::Wait => {}
                Turn::AtEnd => self.at_end(n, id),
                Turn::Over(outcome) => self.over(n, id, &outcome),
            }
        }
    }

    /// The log of a stream that is live has no end to be read: what comes is there before what was recorded is over.
    fn has_caught_up(&self, n: u16) -> bool {
        self.watched.get(&n).is_some_and(|(stream, watched)| watched.has_caught_up(&stream.lock()))
    }

    fn at_end(&mut self, n: u16, id: u32) {
        let Some((stream, watched)) = self.watched.get_mut(&n) else { return };
        let state = if catch_up(stream, watched) { "live" } else { "ended" };
        self.tell_state(n, id, state);
    }

    fn over(&mut self, n: u16, id: u32, outcome: &Outcome) {
        if let Some((_, watched)) = self.watched.get_mut(&n) {
            watched.pause();
        }
        match outcome {
            Outcome::AtBeginning => self.tell_state(n, id, "ended"),
            Outcome::Failed { code, message } => self.tell_failed(n, id, code, message),
        }
    }
}

fn catch_up(stream: &Arc<HubStream>, watched: &mut Watched) -> bool {
    watched.catch_up(&stream.lock())
}
