//! What can go wrong for those who write listeners.

use std::{error::Error, fmt};

use serde::Serialize;
use serde_json::Value;

use crate::packet::{ArgsError, EncodeError};

/// An event was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The event's name is reserved, or its data has no JSON form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The socket has left its namespace.
    #[error("the socket is disconnected")]
    Disconnected,
}

/// An event was sent, but no answer came.
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

/// A listener failed. A client that asked for an ack gets one object:
/// `{"error": message}`, with `"data"` if there is some.
///
/// Every [`std::error::Error`] turns into one by `?`. What such an error says is meant for the
/// application, not for clients: they read `internal error`, and the namespace's error hook gets
/// the error itself. [`EventError::new`] makes one whose message the client may read.
pub struct EventError {
    message: String,
    data: Option<Value>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl EventError {
    /// An error with a message for the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None, source: None }
    }

    /// Adds data for the client. What has no JSON form is left out.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = serde_json::to_value(data).ok();
        self
    }

    pub(crate) fn internal(error: impl Error + Send + Sync + 'static) -> Self {
        Self { message: "internal error".into(), data: None, source: Some(Box::new(error)) }
    }

    pub(crate) fn panicked() -> Self {
        Self::new("internal error")
    }

    /// What the client reads.
    pub fn message(&self) -> &str {
        &self.message
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
            Ok(args) => Self::new(format!("invalid payload: {args}")),
            Err(source) => {
                Self { message: "internal error".into(), data: None, source: Some(source) }
            }
        }
    }
}

/// A middleware refuses a client: it gets a `CONNECT_ERROR` with this message and data.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectError {
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl ConnectError {
    /// Refuses with a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
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

    /// The data, if there is some.
    pub fn details(&self) -> Option<&Value> {
        self.data.as_ref()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConnectError {}
