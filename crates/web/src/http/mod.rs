//! Requests: pages, files, the API, and the way to the WebSocket.

mod api;
mod asked;
mod assets;
mod guard;
mod listen;
mod serve;
mod snapshot;
mod timed;

pub(crate) use asked::{Asked, Named};
pub(crate) use guard::Hosts;
pub(crate) use listen::listen;
pub(crate) use serve::{Peer, Permit, Server};

use crate::config::{Actions, HealthFacts};
use crate::hub::Hub;
use crate::recordings::{self, Recordings};
use crate::studies::{self, Studies};
use crate::token::Token;
use assets::Assets;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{any, get, post};
use serde_json::json;
use snapshot::Snapshots;
pub(crate) use snapshot::{SnapshotQuery, jpeg_of};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// Longest body of a request.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// A screen that there is where there is something to show: elsewhere the page says so.
const STUDIES: &str = "/studies";

/// What every request can reach.
pub(crate) struct App {
    pub(crate) hub: Arc<Hub>,
    pub(crate) title: String,
    pub(crate) token: Option<Token>,
    pub(crate) hosts: Hosts,
    pub(crate) is_tls: bool,
    pub(crate) actions: Option<Arc<dyn Actions>>,
    pub(crate) facts: Arc<dyn HealthFacts>,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) recordings: Arc<Recordings>,
    pub(crate) studies: Option<Arc<Studies>>,
    assets: Assets,
    snapshots: Snapshots,
    /// Buttons pressed at the same time: one.
    pressing: Arc<Semaphore>,
}

/// The parts of [`App`] that are given.
pub(crate) struct AppParts {
    pub(crate) hub: Arc<Hub>,
    pub(crate) title: String,
    pub(crate) token: Option<Token>,
    pub(crate) hosts: Hosts,
    pub(crate) is_tls: bool,
    pub(crate) actions: Option<Arc<dyn Actions>>,
    pub(crate) facts: Arc<dyn HealthFacts>,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) recordings: Arc<Recordings>,
    pub(crate) studies: Option<Arc<Studies>>,
}

impl App {
    pub(crate) fn new(parts: AppParts) -> Self {
        let AppParts { hub, title, token, hosts, is_tls, actions, facts, closing, recordings, studies } = parts;
        let (assets, snapshots) = (Assets::new(), Snapshots::default());
        let pressing = Arc::new(Semaphore::new(1));
        Self {
            hub,
            title,
            token,
            hosts,
            is_tls,
            actions,
            facts,
            closing,
            recordings,
            studies,
            assets,
            snapshots,
            pressing,
        }
    }

    /// Whether there are DICOM topics, and they are shown.
    pub(crate) fn has_studies(&self) -> bool {
        self.studies.as_ref().is_some_and(|studies| studies.are_there())
    }

    /// The buttons as they are now.
    pub(crate) fn action_list(&self) -> Vec<crate::config::Action> {
        self.actions.as_ref().map(|actions| actions.list()).unwrap_or_default()
    }
}

/// A moment as it stands in the names of files: `2026-11-23T140300Z`.
pub(crate) fn file_time(unix_seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(unix_seconds).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H%M%SZ").to_string()
}

/// An error as every path but a page's gives it.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({ "error": { "code": code, "message": message } });
    (status, axum::Json(body)).into_response()
}

/// All paths; `health` has `/metrics`, `/healthz` and `/readyz`.
pub(crate) fn router(app: Arc<App>, health: Router) -> Router {
    Router::new()
        .route("/", get(page))
        .route(STUDIES, get(studies_page))
        .route("/studies/{*rest}", get(studies_page))
        .route("/health", get(page))
        .route("/events", get(page))
        .route("/timeline", get(page))
        .route("/camera/{id}", get(page))
        .route("/assets/{*path}", get(asset))
        .route("/favicon.ico", get(favicon))
        .route("/api/v1/state", get(api::state))
        .route("/api/v1/health", get(api::health))
        .route("/api/v1/cameras/{id}/snapshot", get(snapshot::snapshot))
        .route("/api/v1/cameras/{id}/timeline", get(recordings::timeline))
        .route("/api/v1/cameras/{id}/clip.mp4", get(recordings::clip_mp4))
        .route("/api/v1/cameras/{id}/clip.mjpeg", get(recordings::clip_mjpeg))
        .route("/api/v1/actions/{action}", post(api::act))
        .route("/api/v1/studies", get(studies::list).post(studies::search))
        .route("/api/v1/studies/{study}", get(studies::study))
        .route("/api/v1/studies/{study}/{series}", get(studies::series))
        .route("/api/v1/objects/{object}", get(studies::object))
        .route("/api/v1/objects/{object}/frames/{frame}", get(studies::frame))
        .route("/api/v1/destinations", get(studies::destinations))
        .route("/ws", any(crate::session::upgrade))
        .fallback(unknown)
        .method_not_allowed_fallback(not_so)
        .with_state(Arc::clone(&app))
        .merge(health)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(app, guard::guard))
}

async fn page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response<Body> {
    app.assets.index(&headers)
}

/// The page, with status 404 where there are no studies.
async fn studies_page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response<Body> {
    let mut response = app.assets.index(&headers);
    if response.status() == StatusCode::OK && !app.has_studies() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

async fn asset(State(app): State<Arc<App>>, Named(path): Named, headers: HeaderMap) -> Response<Body> {
    app.assets.get(&path, &headers).unwrap_or_else(not_found)
}

async fn favicon(State(app): State<Arc<App>>, headers: HeaderMap) -> Response<Body> {
    app.assets.get("favicon.svg", &headers).unwrap_or_else(not_found)
}

async fn unknown() -> Response<Body> {
    not_found()
}

async fn not_so() -> Response<Body> {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "method", "what is at this path is not asked for with this method")
}

fn not_found() -> Response<Body> {
    refusal(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")
}
