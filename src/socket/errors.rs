//! What can go wrong for those who write listeners.

use std::{error::Error, fmt};

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::packet::{ArgsError, EncodeError};

/// An event was not sent. A handler of HTTP may return it by `?`: it is answered with 500.
///
/// ```
/// use greenroom::{EmitError, Socket};
///
/// fn remind(socket: &Socket) {
///     match socket.emit("reminder", &"noon") {
///         Ok(()) => {}
///         Err(EmitError::Disconnected) => println!("it has gone"),
///         Err(error) => println!("a mistake in the program: {error}"),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The event's name is reserved, or its data has no JSON form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The socket has left its namespace.
    #[error("the socket is disconnected")]
    Disconnected,
    /// An answer was wanted, and the client has too many others to give:
    /// [`SocketIoBuilder::max_pending_acks`](crate::SocketIoBuilder::max_pending_acks).
    #[error("too many answers of this socket are awaited")]
    TooManyQuestions,
}

/// An event was sent, but no answer came.
///
/// A handler of HTTP may return it by `?`: [`AckError::Timeout`] is answered with 504, all others
/// with 500, and its text.
///
/// ```
/// use std::time::Duration;
///
/// use actix_web::web;
/// use greenroom::{Socket, prelude::*};
///
/// async fn ask(socket: Socket) -> Result<String, AckError> {
///     socket.timeout(Duration::from_secs(5)).emit_with_ack("name?", &()).await
/// }
/// # async fn find() -> Socket { unreachable!() }
/// web::get().to(|| async { ask(find().await).await });
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// No answer in time.
    #[error("operation has timed out")]
    Timeout,
    /// The client left before it answered.
    #[error("the socket has disconnected before it answered")]
    Disconnected,
    /// The answer is of another form than was asked for.
    #[error(transparent)]
    Args(#[from] ArgsError),
}

// In an ordinary HTTP handler, `io.emit(..)?` answers 500.
impl actix_web::ResponseError for EmitError {}
impl actix_web::ResponseError for EncodeError {}

impl actix_web::ResponseError for AckError {
    fn status_code(&self) -> StatusCode {
        match self {
            // The client is to this server what another server is to a proxy.
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Emit(_) | Self::Disconnected | Self::Args(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What an error of a listener is about.
///
/// ```
/// use greenroom::{EventErrorKind, prelude::*};
///
/// Namespace::new("/").on_error(|_: &Socket, event: &str, error: &EventError| match error.kind() {
///     EventErrorKind::Refused | EventErrorKind::Payload => {}     // the client has been told
///     _ => eprintln!("{event}: {error}"),
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventErrorKind {
    /// The client sent arguments that do not fit the listener's type.
    Payload,
    /// The client sent a packet that cannot be decoded; its connection closes. The event's name
    /// is empty.
    Packet,
    /// The application refused the event, with [`EventError::new`].
    Refused,
    /// The listener returned another error.
    Internal,
    /// The listener panicked. What it said is the [source](EventError::source).
    Panicked,
}

/// What a client reads of errors that are none of its business.
const INTERNAL: &str = "internal error";

/// A listener failed. A client that asked for an ack gets one object:
/// `{"error": message}`, with `"data"` if there is some.
///
/// Every [`std::error::Error`] turns into one by `?`. What such an error says is meant for the
/// application, not for clients: they read `internal error`, and the namespace's error hook gets
/// the error itself. [`EventError::new`] makes one whose message the client may read.
///
/// ```
/// use greenroom::prelude::*;
/// use serde_json::json;
///
/// async fn load(path: &str) -> Result<String, EventError> {
///     if path.contains("..") {
///         return Err(EventError::new("not allowed").data(&json!({ "path": path })));   // the client reads it
///     }
///     Ok(std::fs::read_to_string(path)?)                                               // it reads "internal error"
/// }
/// # let error = actix_web::rt::System::new().block_on(load("..")).unwrap_err();
/// # assert_eq!(error.message(), "not allowed");
/// ```
pub struct EventError {
    kind: EventErrorKind,
    message: String,
    data: Option<Value>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl EventError {
    /// An error with a message for the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(EventErrorKind::Refused, message.into(), None)
    }

    fn of(
        kind: EventErrorKind,
        message: String,
        source: Option<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message, data: None, source }
    }

    /// Adds data for the client. What has no JSON form is left out.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = serde_json::to_value(data).ok();
        self
    }

    pub(crate) fn internal(error: impl Error + Send + Sync + 'static) -> Self {
        Self::of(EventErrorKind::Internal, INTERNAL.into(), Some(Box::new(error)))
    }

    pub(crate) fn panicked(reason: String) -> Self {
        Self::of(EventErrorKind::Panicked, INTERNAL.into(), Some(reason.into()))
    }

    pub(crate) fn packet(message: String) -> Self {
        Self::of(EventErrorKind::Packet, message, None)
    }

    /// Whose fault it is, roughly.
    pub fn kind(&self) -> EventErrorKind {
        self.kind
    }

    /// What the client reads.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The data for the client, if there is some.
    pub fn details(&self) -> Option<&Value> {
        self.data.as_ref()
    }

    /// The error behind it, which the client does not see.
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }

    /// The answer that the client gets.
    pub(crate) fn answer(&self) -> Value {
        let mut answer = serde_json::json!({ "error": self.message });
        if let Some(data) = &self.data {
            answer["data"] = data.clone();
        }
        answer
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl fmt::Debug for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("data", &self.data)
            .field("source", &self.source)
            .finish()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for EventError {
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = Box::new(error);
        match error.downcast::<ArgsError>() {
            // The client sent what does not fit: it may know.
            Ok(args) => Self::of(EventErrorKind::Payload, explain(&args), None),
            Err(source) => Self::of(EventErrorKind::Internal, INTERNAL.into(), Some(source)),
        }
    }
}

/// What a client reads of a payload that does not fit: not its own text again at full length, and
/// no positions in a text that it did not write.
fn explain(error: &ArgsError) -> String {
    const LONGEST: usize = 200;
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(end, _)| end);
    let dots = if end < text.len() { "..." } else { "" };
    format!("invalid payload: {}{dots}", &text[..end])
}

/// A middleware refuses a client: it gets a `CONNECT_ERROR` with this message and data.
///
/// Every [`std::error::Error`] turns into one by `?`. What such an error says is meant for the
/// application, not for clients: they read `internal error`, and the log has the error itself.
///
/// ```
/// use greenroom::prelude::*;
/// use serde_json::json;
///
/// Namespace::new("/vault").before_connect(|socket: Socket| async move {
///     if socket.handshake().auth["token"] != "open sesame" {
///         return Err(ConnectError::new("not authorized").data(&json!({ "code": 401 })));
///     }
///     Ok(())
/// });
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectError {
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
    /// What the client does not see.
    pub(crate) cause: Option<String>,
}

impl ConnectError {
    /// Refuses with a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None, cause: None }
    }

    /// Adds data for the client. What has no JSON form is left out.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = serde_json::to_value(data).ok();
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the client gets: `message`, and `data` if there is some.
    pub(crate) fn to_json(&self) -> Value {
        let mut refusal = serde_json::json!({ "message": self.message });
        if let Some(data) = &self.data {
            refusal["data"] = data.clone();
        }
        refusal
    }

    /// What a client of Socket.IO 1 or 2 gets: the data, unless JavaScript takes it for nothing, or
    /// else the message.
    pub(crate) fn to_bare_json(&self) -> Value {
        let nothing = |data: &Value| match data {
            Value::Null => true,
            Value::Bool(truth) => !truth,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(_) | Value::Object(_) => false,
        };
        let data = self.data.as_ref().filter(|data| !nothing(data));
        data.cloned().unwrap_or_else(|| self.message.clone().into())
    }

    /// The data, if there is some.
    pub fn details(&self) -> Option<&Value> {
        self.data.as_ref()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{}: {cause}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ConnectError {
    fn from(error: E) -> Self {
        Self { cause: Some(error.to_string()), ..Self::new(INTERNAL) }
    }
}

// One check, such as that of a token, may serve middlewares and listeners.

impl From<EventError> for ConnectError {
    /// The client reads the same message and data.
    fn from(error: EventError) -> Self {
        let cause = error.source.map(|source| source.to_string());
        Self { message: error.message, data: error.data, cause }
    }
}

impl From<ConnectError> for EventError {
    /// The client reads the same message and data.
    fn from(refusal: ConnectError) -> Self {
        let kind = match refusal.cause {
            Some(_) => EventErrorKind::Internal,
            None => EventErrorKind::Refused,
        };
        let source = refusal.cause.map(Into::into);
        Self { kind, message: refusal.message, data: refusal.data, source }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use serde_json::json;

    use super::*;
    use crate::packet::Payload;

    #[test]
    fn a_refusal_of_an_event_is_one_of_a_client_and_the_other_way_round() {
        let event = EventError::new("no").data(&json!({ "code": 401 }));
        let client = ConnectError::from(event);
        assert_eq!(client, ConnectError::new("no").data(&json!({ "code": 401 })));
        let event = EventError::from(client);
        assert_eq!(event.kind(), EventErrorKind::Refused);
        assert_eq!(event.answer(), json!({ "error": "no", "data": { "code": 401 } }));
        assert!(event.source().is_none());
    }

    #[test]
    fn what_a_client_does_not_read_stays_hidden_from_the_one_to_the_other() {
        let failure = || std::io::Error::other("the disk is full");
        let client = ConnectError::from(EventError::from(failure()));
        assert_eq!(client, ConnectError::from(failure()));
        assert_eq!(client.to_string(), "internal error: the disk is full");
        let event = EventError::from(client);
        assert_eq!(event.kind(), EventErrorKind::Internal);
        assert_eq!(event.answer(), json!({ "error": "internal error" }));
        assert_eq!(event.to_string(), "internal error: the disk is full");
    }

    #[actix_rt::test]
    async fn an_answer_that_did_not_come_is_504_and_all_else_500() {
        let reserved = Payload::event("disconnect", &()).unwrap_err();
        let failures = [
            (AckError::Timeout, 504),
            (AckError::Disconnected, 500),
            (AckError::Emit(EmitError::Disconnected), 500),
            (AckError::Emit(reserved.into()), 500),
            (AckError::Args(ArgsError::Missing { index: 0 }), 500),
        ];
        for (error, status) in failures {
            let response = error.error_response();
            assert_eq!(response.status(), status, "{error}");
            let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
            assert_eq!(body, error.to_string());
        }
    }
}
