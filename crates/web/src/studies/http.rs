//! The paths of the API.

use super::Studies;
use super::access::What;
use super::answers::{frame_json, opened_json, queues_json};
use super::desk::{Opened, Refused};
use crate::http::{App, Asked, Named, Peer, refusal};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::{Json, extract::rejection::BytesRejection};
use lumenbus_dicom::catalogue::{Name, Place};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Most studies, or objects, in one answer.
const MAX_LISTED: usize = 500;
const DEFAULT_LISTED: usize = 100;
/// Longest search.
const MAX_SEARCH: usize = 256;
/// How the samples of a frame are meant.
const PICTURE: HeaderName = HeaderName::from_static("x-lumenbus-picture");

/// Which part of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Part {
    offset: usize,
    limit: Option<usize>,
}

impl Part {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LISTED).min(MAX_LISTED)
    }
}

/// What is looked for: in a body, because names of patients do not belong into addresses.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Search {
    search: String,
    offset: usize,
    limit: Option<usize>,
}

fn studies(app: &App) -> Result<Arc<Studies>, Box<Response<Body>>> {
    let there = app.studies.as_ref().filter(|studies| studies.are_there());
    there.cloned().ok_or_else(|| Box::new(unknown("there are no DICOM topics, or this viewer does not show them")))
}

fn unknown(what: &str) -> Response<Body> {
    refusal(StatusCode::NOT_FOUND, "not-found", what)
}

type Answer = Result<Response<Body>, Box<Response<Body>>>;

fn either(answer: Answer) -> Response<Body> {
    answer.unwrap_or_else(|refused| *refused)
}

fn refused(refused: &Refused) -> Box<Response<Body>> {
    Box::new(refused.response())
}

fn name(text: &str) -> Result<Name, Box<Response<Body>>> {
    text.parse().map_err(|_| Box::new(unknown("there is nothing of this name")))
}

/// `GET /api/v1/studies`: the newest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Asked(part): Asked<Part>,
) -> Response<Body> {
    either(listed(&app, peer, String::new(), part).await)
}

/// `POST /api/v1/studies`: those that match.
pub(crate) async fn search(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Response<Body> {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refusal(rejection.status(), "bad-body", &rejection.body_text()),
    };
    match serde_json::from_slice::<Search>(&body) {
        Ok(Search { search, offset, limit }) if search.len() <= MAX_SEARCH => {
            either(listed(&app, peer, search, Part { offset, limit }).await)
        }
        // Words of the body are not repeated: they could be a patient's.
        _ => refusal(StatusCode::BAD_REQUEST, "bad-body", "{ \"search\": TEXT, \"offset\": N, \"limit\": N }"),
    }
}

async fn listed(app: &App, peer: Peer, search: String, part: Part) -> Answer {
    let studies = studies(app)?;
    put_down(&studies, peer).await?;
    let found = tokio::task::spawn_blocking(move || studies.list_json(&search, part.offset, part.limit())).await;
    found.map(|found| Json(found).into_response()).map_err(|_| refused(&Refused::Busy))
}

/// Lists with names of patients are put on record.
async fn put_down(studies: &Arc<Studies>, peer: Peer) -> Result<(), Box<Response<Body>>> {
    let own = Arc::clone(studies);
    let work = move || own.accesses.list(peer, own.patient_data).map_err(Refused::NotOnRecord);
    studies.desk.work(work).await.map_err(|error| refused(&error))
}

/// `GET /api/v1/studies/{study}`: its series.
pub(crate) async fn study(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Named(study): Named,
) -> Response<Body> {
    let answer = async {
        let studies = studies(&app)?;
        let study = name(&study)?;
        put_down(&studies, peer).await?;
        let found: Option<Value> = studies.study_json(study);
        found.map(|found| Json(found).into_response()).ok_or_else(|| Box::new(unknown("no such study is known")))
    };
    either(answer.await)
}

/// `GET /api/v1/studies/{study}/{series}`: its objects.
pub(crate) async fn series(
    State(app): State<Arc<App>>,
    Path((study, series)): Path<(String, String)>,
    Asked(part): Asked<Part>,
) -> Response<Body> {
    let answer = || {
        let found = studies(&app)?.series_json(name(&study)?, name(&series)?, part.offset, part.limit());
        found.map(|found| Json(found).into_response()).ok_or_else(|| Box::new(unknown("no such series is known")))
    };
    either(answer())
}

fn place(studies: &Studies, object: &str) -> Result<(Name, Place), Box<Response<Body>>> {
    let name = name(object)?;
    let place = studies.catalogue().object(name).map(|object| object.place);
    place.map(|place| (name, place)).ok_or_else(|| Box::new(unknown("no such object is known")))
}

/// Reads an object, and puts on record that somebody gets what `then` makes of it.
async fn accessed<T: Send + 'static>(
    studies: &Arc<Studies>,
    peer: Peer,
    (object, what): (&str, What),
    then: impl FnOnce(&Studies, Place, &Opened) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Box<Response<Body>>> {
    let (name, place) = place(studies, object)?;
    let own = Arc::clone(studies);
    let work = move || {
        let opened = own.desk.open(place)?;
        // What is not there is not looked at; everything else is on record before it is.
        let made = then(&own, place, &opened)?;
        let on_record = own.accesses.object(peer, (name, what), &opened.metadata, own.patient_data);
        on_record.map(|()| made).map_err(Refused::NotOnRecord)
    };
    studies.desk.work(work).await.map_err(|error| refused(&error))
}

/// `GET /api/v1/objects/{object}`: its attributes, and what its image is.
pub(crate) async fn object(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Named(object): Named,
) -> Response<Body> {
    let answer = async {
        let studies = studies(&app)?;
        let then = |studies: &Studies, _, opened: &Opened| Ok(opened_json(opened, studies.patient_data));
        let answer = accessed(&studies, peer, (&object, What::Attributes), then).await?;
        Ok(Json(answer).into_response())
    };
    either(answer.await)
}

/// `GET /api/v1/objects/{object}/frames/{frame}`: the samples of a frame, from 1.
pub(crate) async fn frame(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path((object, frame)): Path<(String, u64)>,
) -> Response<Body> {
    let answer = async {
        let studies = studies(&app)?;
        let number = frame.checked_sub(1).ok_or_else(|| Box::new(unknown("frames are counted from 1")))?;
        let then = move |studies: &Studies, place, opened: &Opened| {
            let frame = studies.desk.frame(place, opened, number)?;
            let facts = opened.image.as_ref().map(|image| frame_json(image, &frame)).unwrap_or_default();
            Ok((facts, frame.picture.bytes))
        };
        let (facts, bytes) = accessed(&studies, peer, (&object, What::Pixels), then).await?;
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Ok(facts) = HeaderValue::from_str(&facts.to_string()) {
            headers.insert(PICTURE, facts);
        }
        Ok(response)
    };
    either(answer.await)
}

/// `GET /api/v1/destinations`: what each does not have yet.
pub(crate) async fn destinations(State(app): State<Arc<App>>) -> Response<Body> {
    let answer = async {
        let studies = studies(&app)?;
        let own = Arc::clone(&studies);
        let queues = studies.desk.work(move || own.desk.queues()).await.map_err(|error| refused(&error))?;
        Ok(Json(queues_json(&queues)).into_response())
    };
    either(answer.await)
}
