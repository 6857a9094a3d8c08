//! Reading single objects: a bounded number at a time, with what was read last kept.

use super::lock;
use crate::http::refusal;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_dicom::catalogue::Place;
use lumenbus_dicom::picture::{Image, NoPicture, Picture, Shown, window_names};
use lumenbus_dicom::record::Metadata;
use lumenbus_dicom::transport::TransportError;
use lumenbus_dicom::transport::browse::{BrowseError, ObjectReader};
use lumenbus_dicom::transport::failed::{FailedRecord, open_failures};
use lumenbus_dicom::transport::queue::{self, Waiting};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Objects read and frames decoded at a time.
const WORKERS: usize = 2;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Metadata kept: a page asks for many frames of one object.
const MAX_KEPT: usize = 8;
const MAX_KEPT_BYTES: usize = 32 << 20;
/// Queues are counted again after this time.
const QUEUES_AGE: Duration = Duration::from_secs(5);
/// Most failures told one by one.
const MAX_FAILURES: usize = 100;

/// An object whose metadata was read.
pub(super) struct Opened {
    pub(super) metadata: Metadata,
    pub(super) image: Result<Image, NoPicture>,
}

impl Opened {
    fn bytes(&self) -> usize {
        const ATTRIBUTE: usize = 128;
        let metadata = &self.metadata;
        let lists = metadata.chunks.len() * 16 + metadata.pixels.as_ref().map_or(0, |p| p.fragment_lengths.len() * 4);
        metadata.header.len() * 2 + metadata.tail.len() + lists + metadata.attributes.list.len() * ATTRIBUTE
    }
}

/// A decoded frame, and how it is shown.
pub(super) struct Frame {
    pub(super) picture: Picture,
    pub(super) shown: Shown,
    pub(super) names: Vec<String>,
}

/// What destinations lack.
pub(super) struct Queues {
    pub(super) waiting: Vec<Waiting>,
    /// The newest first.
    pub(super) failures: Vec<FailedRecord>,
    pub(super) failed: usize,
}

/// Why a request is not answered.
pub(super) enum Refused {
    Busy,
    Gone,
    NotOnRecord(String),
    Browse(BrowseError),
}

impl From<BrowseError> for Refused {
    fn from(error: BrowseError) -> Self {
        if matches!(error, BrowseError::Gone) { Self::Gone } else { Self::Browse(error) }
    }
}

impl From<TransportError> for Refused {
    fn from(error: TransportError) -> Self {
        Self::Browse(error.into())
    }
}

impl Refused {
    pub(super) fn response(&self) -> Response<Body> {
        match self {
            Self::Busy => {
                refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many objects are being read; ask again")
            }
            Self::Gone => refusal(StatusCode::NOT_FOUND, "gone", "the object is not in the log any more"),
            Self::NotOnRecord(why) => {
                let text = format!("the access cannot be put into the audit trail, so nothing is shown: {why}");
                refusal(StatusCode::SERVICE_UNAVAILABLE, "not-on-record", &text)
            }
            Self::Browse(BrowseError::NoPicture(why)) => {
                let status =
                    if *why == NoPicture::NoFrame { StatusCode::NOT_FOUND } else { StatusCode::UNPROCESSABLE_ENTITY };
                refusal(status, why.code(), &why.to_string())
            }
            Self::Browse(error @ BrowseError::Damaged { .. }) => {
                refusal(StatusCode::UNPROCESSABLE_ENTITY, "damaged", &error.to_string())
            }
            Self::Browse(error) => refusal(StatusCode::BAD_GATEWAY, "unreadable", &error.to_string()),
        }
    }
}

pub(super) struct Desk {
    bus: BusConfig,
    turns: Arc<Semaphore>,
    readers: Mutex<Vec<ObjectReader>>,
    kept: Mutex<VecDeque<(Place, Arc<Opened>)>>,
    queues: Mutex<Option<(Instant, Arc<Queues>)>>,
}

impl Desk {
    pub(super) fn new(bus: BusConfig) -> Self {
        let turns = Arc::new(Semaphore::new(WORKERS));
        Self { bus, turns, readers: Mutex::default(), kept: Mutex::default(), queues: Mutex::default() }
    }

    /// Waits for a turn, then works where blocking is allowed.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| Refused::Busy)?.map_err(|_| Refused::Busy)?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Refused::Busy)?
    }

    fn with_reader<T>(&self, read: impl FnOnce(&mut ObjectReader) -> Result<T, BrowseError>) -> Result<T, Refused> {
        let idle = lock(&self.readers).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => ObjectReader::open(&self.bus)?,
        };
        let found = read(&mut reader)?;
        // Who failed is not asked again.
        lock(&self.readers).push(reader);
        Ok(found)
    }

    pub(super) fn open(&self, place: Place) -> Result<Arc<Opened>, Refused> {
        let found = lock(&self.kept).iter().find(|(of, _)| *of == place).map(|(_, opened)| Arc::clone(opened));
        if let Some(found) = found {
            return Ok(found);
        }
        let metadata = self.with_reader(|reader| reader.metadata(place))?;
        let image = Image::of(&metadata);
        let opened = Arc::new(Opened { metadata, image });
        let mut kept = lock(&self.kept);
        kept.push_back((place, Arc::clone(&opened)));
        let bytes =
            |kept: &VecDeque<(Place, Arc<Opened>)>| kept.iter().map(|(_, opened)| opened.bytes()).sum::<usize>();
        while kept.len() > MAX_KEPT || (kept.len() > 1 && bytes(&kept) > MAX_KEPT_BYTES) {
            kept.pop_front();
        }
        Ok(opened)
    }

    pub(super) fn frame(&self, place: Place, opened: &Opened, frame: u64) -> Result<Frame, Refused> {
        let image = opened.image.as_ref().map_err(|why| Refused::Browse(why.clone().into()))?;
        let metadata = &opened.metadata;
        let (at, bytes) = self.with_reader(|reader| reader.frame(place.partition, metadata, image, frame))?;
        let picture = image.decode(&at, &bytes).map_err(|why| Refused::Browse(why.into()))?;
        Ok(Frame { picture, shown: Image::shown(metadata, frame), names: window_names(metadata, frame) })
    }

    pub(super) fn queues(&self) -> Result<Arc<Queues>, Refused> {
        let mut kept = lock(&self.queues);
        if let Some((_, queues)) = kept.as_ref().filter(|(at, _)| at.elapsed() < QUEUES_AGE) {
            return Ok(Arc::clone(queues));
        }
        let waiting = or_nothing(queue::list(&self.bus))?;
        let mut failures: Vec<_> = or_nothing(open_failures(&self.bus))?.into_values().collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.unix_millis));
        let failed = failures.len();
        failures.truncate(MAX_FAILURES);
        let queues = Arc::new(Queues { waiting, failures, failed });
        *kept = Some((Instant::now(), Arc::clone(&queues)));
        Ok(queues)
    }
}

/// Topics that nobody has made yet hold nothing.
fn or_nothing<T: Default>(result: Result<T, TransportError>) -> Result<T, TransportError> {
    match result {
        Err(TransportError::Bus(BusError::UnknownTopic { .. })) => Ok(T::default()),
        other => other,
    }
}
