//! The JSON API.

use super::{App, Named, refusal};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use lumenbus_frame::CameraId;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /api/v1/state`: what a WebSocket client learns, in one object.
pub(crate) async fn state(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({
        "hello": crate::session::hello(&app),
        "streams": app.hub.streams_json(),
        "stats": app.hub.stats_json(&app.action_list()),
    }))
}

/// `GET /api/v1/health`: the cluster as it was last seen, and the viewer's own budgets.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    let mut facts = match app.facts.overview() {
        Value::Object(facts) => facts,
        _ => serde_json::Map::new(),
    };
    let limit = app.hub.limits().ring_bytes;
    let budget = json!({ "name": "viewer rings", "used_bytes": app.hub.ring_bytes(), "limit_bytes": limit });
    match facts.get_mut("budgets") {
        Some(Value::Array(budgets)) => budgets.push(budget),
        _ => {
            facts.insert("budgets".to_owned(), json!([budget]));
        }
    }
    let drops =
        app.hub.drops().into_iter().map(|(reason, frames)| json!({ "reason": reason.as_str(), "frames": frames }));
    facts.insert("drops".to_owned(), drops.collect());
    facts.insert("viewers".to_owned(), json!(app.hub.viewers()));
    Json(Value::Object(facts))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Press {
    camera: Option<String>,
}

/// `POST /api/v1/actions/{action}`: presses a button.
pub(crate) async fn act(
    State(app): State<Arc<App>>,
    Named(action): Named,
    body: Result<Bytes, BytesRejection>,
) -> Response<Body> {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refusal(rejection.status(), "bad-body", &rejection.body_text()),
    };
    let Some(actions) = app.actions.clone() else {
        return refusal(StatusCode::NOT_FOUND, "unknown-action", "this viewer has no buttons");
    };
    let press = if body.is_empty() { Ok(Press::default()) } else { serde_json::from_slice(&body) };
    let camera = match press.map(|press: Press| press.camera.map(|camera| camera.parse::<CameraId>()).transpose()) {
        Ok(Ok(camera)) => camera,
        Ok(Err(error)) => return refusal(StatusCode::BAD_REQUEST, "bad-camera", &error.to_string()),
        Err(error) => return refusal(StatusCode::BAD_REQUEST, "bad-body", &format!("{{ \"camera\": ID }}: {error}")),
    };
    if !actions.list().iter().any(|known| known.id == action) {
        return refusal(StatusCode::NOT_FOUND, "unknown-action", "there is no such button now");
    }
    let Ok(turn) = Arc::clone(&app.pressing).try_acquire_owned() else {
        return refusal(StatusCode::CONFLICT, "busy", "another button is still at work");
    };
    let work = move || {
        let outcome = actions.run(&action, camera.as_ref());
        drop(turn);
        outcome
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(message)) => Json(json!({ "ok": true, "message": message })).into_response(),
        Ok(Err(message)) => refusal(StatusCode::CONFLICT, "action-failed", &message),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "action-panicked", "the button broke"),
    }
}
