//! The thread that follows `dicom_metadata`.

use super::{State, Studies, lock};
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_dicom::transport::TransportError;
use lumenbus_dicom::transport::browse::Follower;
use std::time::Duration;

/// Between looks at what has come.
const PAUSE: Duration = Duration::from_secs(2);
/// Between looks for topics that are not there, or brokers that are away.
const LONG_PAUSE: Duration = Duration::from_secs(4);

impl Studies {
    pub(super) fn follow(&self, bus: &BusConfig) {
        let mut follower = None;
        while !self.shutdown.is_requested() {
            let pause = match self.turn(bus, &mut follower) {
                Ok(()) => PAUSE,
                Err(error) => {
                    follower = None;
                    self.failed(&error);
                    LONG_PAUSE
                }
            };
            self.shutdown.sleep(pause);
        }
    }

    fn turn(&self, bus: &BusConfig, follower: &mut Option<Follower>) -> Result<(), TransportError> {
        let following = match follower {
            Some(following) => following,
            None => {
                let opened = follower.insert(Follower::open(bus)?);
                self.set(State::Reading);
                opened
            }
        };
        let is_complete = following.turn(|take| take(&mut self.catalogue()), || self.shutdown.is_requested())?;
        *lock(&self.unreadable) = following.unreadable();
        if is_complete {
            self.set(State::Ready);
        }
        Ok(())
    }

    fn set(&self, state: State) {
        *lock(&self.state) = state;
    }

    fn failed(&self, error: &TransportError) {
        let state = match error {
            TransportError::Bus(BusError::UnknownTopic { .. }) => State::Absent,
            _ if !self.are_there() => State::Absent,
            _ => State::Away(error.to_string()),
        };
        if let State::Away(reason) = &state {
            tracing::info!("studies cannot be followed for now: {reason}");
        }
        self.set(state);
    }
}
