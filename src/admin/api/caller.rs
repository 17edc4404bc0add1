//! Who calls, and what he sends.

use std::time::Duration;

use actix_web::{HttpRequest, http::header, web};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::time::timeout;

use super::{Answer, error::ApiError, json, server};
use crate::admin::{authentication::Denied, desk::Desk};

/// Bytes of a body of somebody who is known.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Bytes of a name and a password, of anybody.
const MAX_LOGIN: usize = 16 << 10;
/// Time that a body has to come, as long as those of Engine.IO have by default.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether whoever calls may.
pub(super) async fn authenticate(req: &HttpRequest, desk: &Desk) -> Result<(), ApiError> {
    let authentication = &desk.authentication;
    if authentication.is_open() {
        return Ok(());
    }
    let said = req.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, rest) = said.and_then(|said| said.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        return match authentication.resume(rest.trim()).await {
            true => Ok(()),
            false => Err(ApiError::Unauthorized),
        };
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(ApiError::Unauthorized);
    }
    let decoded = BASE64_STANDARD.decode(rest.trim()).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let (username, password) = decoded.split_once(':').ok_or(Denied::Credentials)?;
    check(req, desk, username, password).await
}

async fn check(
    req: &HttpRequest,
    desk: &Desk,
    username: &str,
    password: &str,
) -> Result<(), ApiError> {
    let address = server(desk)?.address_of(req).map(|address| address.ip());
    Ok(desk.authentication.check(username, password, address).await?)
}

/// Whether whoever calls may, and may change something.
pub(super) async fn may_write(req: &HttpRequest, desk: &Desk) -> Result<(), ApiError> {
    authenticate(req, desk).await?;
    if desk.read_only { Err(ApiError::ReadOnly) } else { Ok(()) }
}

/// The body, which must be said to be JSON: a form of another page cannot do so.
pub(super) async fn body<T: DeserializeOwned>(
    req: &HttpRequest,
    payload: web::Payload,
    most: usize,
) -> Result<T, ApiError> {
    let said = req.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = said.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::NotJson);
    }
    let read = timeout(PATIENCE, payload.to_bytes_limited(most)).await;
    let read = read.map_err(|_| ApiError::TooSlow)?.map_err(|_| ApiError::TooLarge)?;
    let bytes = read.map_err(|error| ApiError::Bad(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::Bad(error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
}

/// `POST session`: a name and a password become the id of a session.
pub(super) async fn log_in(
    req: HttpRequest,
    desk: web::Data<Desk>,
    payload: web::Payload,
) -> Answer {
    let Login { username, password } = body(&req, payload, MAX_LOGIN).await?;
    check(&req, &desk, &username, &password).await?;
    Ok(json(&json!({ "session": desk.authentication.begin_session().await })))
}
