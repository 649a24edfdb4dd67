//! The REST interface: its paths and the validation of its parameters. Every response is JSON; an error is `{"error": "…"}`
//! with a sentence that states what is allowed.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::crm::{Crm, Metrics, Note, Stage};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;
const NOTE_MAX: usize = 4000;

/// All routes of the API.
pub fn router(crm: Arc<Crm>) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({"status": "ok"}))))
        .route("/contacts", get(contacts))
        .route("/contacts/{id}/history", get(history))
        .route("/contacts/{id}/notes", post(create_note))
        .route("/deals/summary", get(deals))
        .route("/revenue", get(revenue))
        .route("/dashboard/metrics", get(metrics))
        .fallback(async || ApiError(StatusCode::NOT_FOUND, "this path does not exist".to_owned()))
        .with_state(crm)
}

/// An error: its status, and a sentence for the caller.
struct ApiError(StatusCode, String);

impl ApiError {
    fn bad_request(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    fn unknown_contact(id: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("contact '{id}' does not exist"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

type Parameters<T> = Result<Query<T>, QueryRejection>;

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct StageFilter {
    stage: Option<String>,
}

#[derive(Deserialize)]
struct Months {
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

fn limit(requested: Option<usize>) -> Result<usize, ApiError> {
    match requested.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => Err(ApiError::bad_request(format!("limit is {other}; it must be from 1 to {LIMIT_MAX}"))),
    }
}

fn month(name: &str, requested: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(requested) = requested else { return Ok(None) };
    let is_valid = match requested.split_once('-') {
        Some((year, month)) => {
            let digits = |text: &str, n| text.len() == n && text.bytes().all(|byte| byte.is_ascii_digit());
            digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month)
        }
        None => false,
    };
    if !is_valid {
        return Err(ApiError::bad_request(format!("{name} is '{requested}'; it must be a month such as 2026-03")));
    }
    Ok(Some(requested))
}

async fn contacts(State(crm): State<Arc<Crm>>, search: Parameters<Search>) -> Result<Json<Value>, ApiError> {
    let Query(search) = search?;
    let (items, total) = crm.search(&search.q, limit(search.limit)?);
    Ok(Json(json!({"items": items, "total": total})))
}

async fn history(
    State(crm): State<Arc<Crm>>,
    Path(id): Path<String>,
    page: Parameters<Page>,
) -> Result<Json<Value>, ApiError> {
    let Query(page) = page?;
    let items = crm.history(&id, limit(page.limit)?).ok_or_else(|| ApiError::unknown_contact(&id))?;
    Ok(Json(json!({"items": items})))
}

async fn create_note(
    State(crm): State<Arc<Crm>>,
    Path(id): Path<String>,
    note: Result<Json<NewNote>, JsonRejection>,
) -> Result<(StatusCode, Json<Note>), ApiError> {
    let Json(note) = note?;
    if note.text.trim().is_empty() || note.text.chars().count() > NOTE_MAX {
        return Err(ApiError::bad_request(format!("text must have from 1 to {NOTE_MAX} characters")));
    }
    let note = crm.add_note(&id, note.text).ok_or_else(|| ApiError::unknown_contact(&id))?;
    Ok((StatusCode::CREATED, Json(note)))
}

async fn deals(State(crm): State<Arc<Crm>>, filter: Parameters<StageFilter>) -> Result<Json<Value>, ApiError> {
    let Query(StageFilter { stage }) = filter?;
    let stage = match stage {
        None => None,
        Some(name) => Some(Stage::ALL.into_iter().find(|stage| stage.name() == name).ok_or_else(|| {
            let names = Stage::ALL.map(Stage::name).join(", ");
            ApiError::bad_request(format!("stage is '{name}'; it must be one of {names}"))
        })?),
    };
    Ok(Json(json!({"items": crm.deals(stage)})))
}

async fn revenue(State(crm): State<Arc<Crm>>, months: Parameters<Months>) -> Result<Json<Value>, ApiError> {
    let Query(months) = months?;
    let (from, to) = (month("from", months.from)?, month("to", months.to)?);
    if let (Some(from), Some(to)) = (&from, &to)
        && from > to
    {
        return Err(ApiError::bad_request(format!("from ({from}) is after to ({to})")));
    }
    Ok(Json(json!({"items": crm.revenue(from.as_deref(), to.as_deref())})))
}

async fn metrics(State(crm): State<Arc<Crm>>) -> Json<Metrics> {
    Json(crm.metrics())
}

#[cfg(test)]
mod tests;
