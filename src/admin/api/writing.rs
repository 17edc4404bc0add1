//! What can be done. In a cluster it is done on all servers.

use std::time::Duration;

use actix_web::{HttpRequest, web};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Answer,
    caller::{MAX_BODY, body, may_write},
    error::ApiError,
    json, server,
};
use crate::{
    admin::{
        commands::{Rooms, Whom},
        desk::Desk,
    },
    packet::Args,
};

/// How long the answer waits until the last one has gone.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> String {
    "/".to_owned()
}

// `to` has to be there, were it as `null`: nobody should speak to everybody by a mistake in a name.

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Emit {
    #[serde(default = "main")]
    namespace: String,
    to: Rooms,
    #[serde(default)]
    except: Rooms,
    event: String,
    #[serde(default)]
    args: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    #[serde(default = "main")]
    namespace: String,
    to: Rooms,
    #[serde(default)]
    except: Rooms,
    rooms: Rooms,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    #[serde(default = "main")]
    namespace: String,
    to: Rooms,
    #[serde(default)]
    except: Rooms,
    #[serde(default)]
    close: bool,
}

/// Only `null` is everybody. An empty list is what a search gives that has found nobody.
fn whom(namespace: String, to: Rooms, except: Rooms) -> Result<Whom, ApiError> {
    let everybody = to == Rooms::None;
    let rooms = to.into_list();
    if rooms.is_empty() && !everybody {
        return Err(ApiError::Bad("`to` names nobody; everybody is null".to_owned()));
    }
    Ok(Whom { namespace, rooms, except: except.into_list() })
}

fn done() -> Answer {
    Ok(json(&json!({})))
}

/// `POST emit`
pub(super) async fn emit(req: HttpRequest, desk: web::Data<Desk>, payload: web::Payload) -> Answer {
    may_write(&req, &desk).await?;
    let Emit { namespace, to, except, event, args: values } = body(&req, payload, MAX_BODY).await?;
    let mut args = Args::new();
    for value in &values {
        args.push(value).map_err(|error| ApiError::Bad(error.to_string()))?;
    }
    whom(namespace, to, except)?.emit(&server(&desk)?, &event, &args)?;
    done()
}

/// `POST join`
pub(super) async fn join(req: HttpRequest, desk: web::Data<Desk>, payload: web::Payload) -> Answer {
    may_write(&req, &desk).await?;
    let Move { namespace, to, except, rooms } = body(&req, payload, MAX_BODY).await?;
    whom(namespace, to, except)?.join(&server(&desk)?, rooms.into_list())?;
    done()
}

/// `POST leave`
pub(super) async fn leave(
    req: HttpRequest,
    desk: web::Data<Desk>,
    payload: web::Payload,
) -> Answer {
    may_write(&req, &desk).await?;
    let Move { namespace, to, except, rooms } = body(&req, payload, MAX_BODY).await?;
    whom(namespace, to, except)?.leave(&server(&desk)?, rooms.into_list())?;
    done()
}

/// `POST disconnect`: how many of this server have gone, if they go soon.
pub(super) async fn disconnect(
    req: HttpRequest,
    desk: web::Data<Desk>,
    payload: web::Payload,
) -> Answer {
    may_write(&req, &desk).await?;
    let Disconnect { namespace, to, except, close } = body(&req, payload, MAX_BODY).await?;
    let gone = whom(namespace, to, except)?.disconnect(&server(&desk)?, close)?;
    let count = timeout(PATIENCE, gone).await.ok();
    Ok(json(&json!({ "disconnected": count })))
}
