//! Membership of the group while something else is done.

use super::failure::is_passing;
use super::{LOOK, TransportError};
use lumenbus_bus::objects::{GroupEvent, GroupReader};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The group takes a member for dead that does not look for records for minutes.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the membership of a group while something else is done.
pub(super) struct Keeper<'a> {
    pub(super) group: &'a GroupReader,
    pub(super) partition: i32,
}

pub(super) struct Keeping<'a> {
    pub(super) waiting: &'a mut VecDeque<GroupEvent>,
    pub(super) is_paused: &'a mut bool,
    pub(super) looked: &'a mut Instant,
}

impl Keeping<'_> {
    pub(super) fn is_due(&self) -> bool {
        self.looked.elapsed() >= LOOK_INTERVAL
    }
}

impl Keeper<'_> {
    /// Looks for what the group says, not for records; breaks when the partition is gone.
    pub(super) fn look(&self, keeping: &mut Keeping<'_>) -> Result<ControlFlow<()>, TransportError> {
        if !std::mem::replace(keeping.is_paused, true) {
            self.group.set_paused(true)?;
        }
        *keeping.looked = Instant::now();
        let mut flow = ControlFlow::Continue(());
        loop {
            match self.group.turn(LOOK) {
                Ok(Some(event)) => {
                    match &event {
                        GroupEvent::Assigned(_) => self.group.set_paused(true)?,
                        GroupEvent::Revoked(gone) if gone.contains(&self.partition) => flow = ControlFlow::Break(()),
                        _ => {}
                    }
                    keeping.waiting.push_back(event);
                }
                Ok(None) => return Ok(flow),
                Err(error) if is_passing(&error) => return Ok(flow),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
