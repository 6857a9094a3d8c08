//! What a camera's thread and the fleet share: what is wanted, and how it goes.

use crate::Shutdown;
use crate::fleet::status::{CameraState, Progress};
use crate::publish::FeedReport;
use lumenbus_bus::CameraDescription;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the camera's thread shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Run,
    Unplugged,
    /// End the stream within this time.
    Stop(Duration),
}

#[derive(Debug)]
struct Control {
    wanted: Wanted,
    /// Ends the attempt under way.
    attempt: Option<Arc<Shutdown>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
    progress: Mutex<Progress>,
    over: Condvar,
    description: Mutex<CameraDescription>,
}

impl Shared {
    pub(super) fn new(state: CameraState, description: CameraDescription) -> Self {
        Self {
            control: Mutex::new(Control { wanted: Wanted::Run, attempt: None }),
            changed: Condvar::new(),
            progress: Mutex::new(Progress::new(state)),
            over: Condvar::new(),
            description: Mutex::new(description),
        }
    }

    /// Says what is wanted from now on; a stop is final.
    pub(super) fn want(&self, wanted: Wanted) {
        let mut control = lock(&self.control);
        if matches!(control.wanted, Wanted::Stop(_)) {
            return;
        }
        control.wanted = wanted;
        if let (Some(attempt), false) = (&control.attempt, wanted == Wanted::Run) {
            attempt.request();
        }
        self.changed.notify_all();
    }

    pub(super) fn wanted(&self) -> Wanted {
        lock(&self.control).wanted
    }

    /// Waits until something else is wanted, at most so long; what is wanted then.
    pub(super) fn wait_for_change(&self, from: Wanted, wait: Duration) -> Wanted {
        let control = lock(&self.control);
        let waited = self.changed.wait_timeout_while(control, wait, |control| control.wanted == from);
        waited.unwrap_or_else(PoisonError::into_inner).0.wanted
    }

    /// The end of the attempt that begins now, when it may begin.
    pub(super) fn begin_attempt(&self) -> Option<Arc<Shutdown>> {
        let mut control = lock(&self.control);
        let attempt = (control.wanted == Wanted::Run).then(Arc::default);
        control.attempt.clone_from(&attempt);
        attempt
    }

    /// What people are told of the camera.
    pub(super) fn description(&self) -> CameraDescription {
        lock(&self.description).clone()
    }

    pub(super) fn describe(&self, description: CameraDescription) {
        *lock(&self.description) = description;
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    pub(super) fn set_state(&self, state: CameraState) {
        self.progress().state = state;
    }

    /// After each item of the attempt under way.
    pub(super) fn progressed(&self, report: &FeedReport) {
        let mut progress = self.progress();
        progress.current = *report;
        if report.frames > 0 && progress.state != CameraState::Live {
            progress.state = CameraState::Live;
        }
    }

    /// The attempt is over: its report belongs to the earlier ones. Frames that it took.
    pub(super) fn end_attempt(&self) -> u64 {
        let mut progress = self.progress();
        let current = std::mem::take(&mut progress.current);
        progress.earlier.add(&current);
        current.frames
    }

    /// The camera's thread ends.
    pub(super) fn set_over(&self) {
        self.progress().is_over = true;
        self.over.notify_all();
    }

    /// Waits for the end of the camera's thread, until `end`.
    pub(super) fn wait_until_over(&self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        let waited = self.over.wait_timeout_while(self.progress(), left, |progress| !progress.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
