//! Where an application has a say in how requests are answered.

use std::{fmt, future::Future, sync::Arc};

use actix::{Message, Recipient};
use actix_web::http::header::HeaderMap;
use serde_json::{Value, json};
use tracing::debug;

use super::{LocalFuture, Refusal, Request, RequestError, routes::Refused};

type Judge = Box<dyn Fn(Arc<Request>) -> LocalFuture<Result<(), Refusal>> + Send + Sync>;
type GenerateId = Box<dyn Fn(Arc<Request>) -> LocalFuture<Result<String, String>> + Send + Sync>;
type ChangeHeaders = Box<dyn Fn(&mut HeaderMap, &Request) + Send + Sync>;
/// Says whether the error was taken.
type TakeError = Box<dyn Fn(ConnectionError) -> bool + Send + Sync>;

/// A request was refused: what the reference reports as `connection_error`.
///
/// Not reported are requests that fail for other reasons than the protocol: a WebSocket handshake
/// with broken headers, a body that is too large, a server that is closed or full.
///
/// ```
/// use greenroom::{ConnectionError, SocketIo};
///
/// SocketIo::builder().on_connection_error(|error: ConnectionError| {
///     eprintln!("{} {}: {}", error.code, error.message, error.context);    // 1 Session ID unknown: {"sid":"..."}
/// });
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ConnectionError {
    /// The protocol's numeric code, see [`RequestError::code`].
    pub code: u8,
    /// The protocol's text for the code. What [`Hooks::allow_request`] said is in the context.
    pub message: &'static str,
    /// What was wrong, an object with the reference's keys: for code 0 `transport`, for 1 `sid`,
    /// for 2 `method`, for 4 `message` if there is one, or `name` (`FOREIGN_ORIGIN`) and `origin`; for 5 `protocol`; for 3 `name` and what
    /// belongs to it: `INVALID_ORIGIN` (`origin`), `TRANSPORT_MISMATCH` (`transport`,
    /// `previousTransport`), `PROTOCOL_MISMATCH` (`protocol`, `previousProtocol`),
    /// `TRANSPORT_HANDSHAKE_ERROR`, `MIDDLEWARE_FAILURE` (`error` if it said something) and
    /// `ID_GENERATION_ERROR` (`error`). What comes from the client is as it sent it.
    pub context: Value,
    /// The request. If it names no transport that there is, it has the one it came over.
    pub request: Arc<Request>,
}

/// What hears of [`ConnectionError`]s: a function, or the [`Recipient`] of an actor.
///
/// `M` only tells the two forms apart and is never written out. The function runs on the worker
/// of the request and must not block. The mailbox of an actor is not waited for: an error that
/// finds it full is lost, and counted in
/// [`Snapshot::connection_errors_lost`](crate::Snapshot::connection_errors_lost) of a Socket.IO
/// server, as a client may cause as many of them as it likes. Actors set the size of their mailbox
/// with `ctx.set_mailbox_capacity`.
///
/// A function is shown at [`ConnectionError`]. An actor:
///
/// ```
/// use actix::prelude::*;
/// use greenroom::{ConnectionError, SocketIo};
///
/// struct Refused(u64);
/// impl Actor for Refused { type Context = Context<Self>; }
/// impl Handler<ConnectionError> for Refused {
///     type Result = ();
///     fn handle(&mut self, error: ConnectionError, _: &mut Context<Self>) {
///         self.0 += 1;
///         println!("{} so far, now {}", self.0, error.message);
///     }
/// }
/// # actix::System::new().block_on(async {
/// SocketIo::builder().on_connection_error(Refused(0).start().recipient::<ConnectionError>());
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot listen to connection errors",
    note = "write a closure `|error: ConnectionError| ..`, or give `addr.recipient::<ConnectionError>()`"
)]
pub trait OnConnectionError<M> {
    #[doc(hidden)]
    fn into_listener(self) -> BoxedErrorListener;
}

/// A listener made ready. Opaque.
pub struct BoxedErrorListener(TakeError);

impl fmt::Debug for BoxedErrorListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxedErrorListener")
    }
}

impl<F: Fn(ConnectionError) + Send + Sync + 'static> OnConnectionError<()> for F {
    fn into_listener(self) -> BoxedErrorListener {
        BoxedErrorListener(Box::new(move |error| {
            self(error);
            true
        }))
    }
}

impl OnConnectionError<ConnectionError> for Recipient<ConnectionError> {
    fn into_listener(self) -> BoxedErrorListener {
        BoxedErrorListener(Box::new(move |error| self.try_send(error).is_ok()))
    }
}

/// Functions of the application that are called when requests come, each on the worker that has
/// the request. One that panics costs that request alone, which is answered with status 500 and counted
/// in [`Snapshot::panics`](crate::Snapshot::panics); one that does not answer in
/// [`hook_timeout`](super::Config::hook_timeout) is refused with 503.
///
/// [`SocketIoBuilder`](crate::SocketIoBuilder) has the same methods; this is for
/// [`EngineIo::with_hooks`](super::EngineIo::with_hooks).
///
/// ```
/// use greenroom::engine::{Config, EngineIo, Hooks, Opened, Refusal};
///
/// let hooks = Hooks::new()
///     .allow_request(|request| async move {
///         if request.query("token") == Some("secret") { Ok(()) } else { Err(Refusal::new()) }
///     })
///     .on_headers(|headers, _| {
///         headers.insert("x-frame-options".parse().unwrap(), "DENY".parse().unwrap());
///     });
/// let engine = EngineIo::with_hooks(Config::default(), hooks, |socket| {
///     Opened::new(move |message| socket.send(message))
/// });
/// ```
#[derive(Default)]
#[must_use]
pub struct Hooks {
    middlewares: Vec<Judge>,
    allow_request: Option<Judge>,
    generate_id: Option<GenerateId>,
    initial_headers: Vec<ChangeHeaders>,
    headers: Vec<ChangeHeaders>,
    connection_error: Vec<TakeError>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("middlewares", &self.middlewares.len())
            .finish_non_exhaustive()
    }
}

fn judge<F, Fut>(judge: F) -> Judge
where
    F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Refusal>> + 'static,
{
    Box::new(move |request| Box::pin(judge(request)))
}

impl Hooks {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks before a session is opened. A refusal is answered with status 403 and code 4. It is
    /// not asked again for the later requests of a session.
    pub fn allow_request<F, Fut>(mut self, allow: F) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + 'static,
    {
        self.allow_request = Some(judge(allow));
        self
    }

    /// Adds a middleware. It sees every request, those of open sessions and of WebSockets too, but
    /// for preflights that [`Cors`](super::Cors) answers; before anything of it is checked, and in
    /// the order in which the middlewares were added. A refusal is answered with code 3; its text
    /// is for [`ConnectionError::context`] and not told to the client.
    ///
    /// Middlewares of actix-web work too, and they can do more, such as keep a session in a cookie.
    /// Wrap the `App`, or for this server alone `web::scope("/socket.io").wrap(..).service(io)`,
    /// where the server's own path is `/`. This one here is for what should be reported as
    /// [`ConnectionError`] and answered as the clients of the protocol know it.
    pub fn middleware<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + 'static,
    {
        self.middlewares.push(judge(middleware));
        self
    }

    /// Makes the ids of sessions. They are secrets: whoever knows one can act for its client. The
    /// server puts two characters before it, which name the worker that has the session. Default:
    /// 144 random bits.
    ///
    /// With an error, or an id that a session of the same worker has, the request is answered with
    /// code 3 and reported as `ID_GENERATION_ERROR`.
    pub fn generate_id<F, Fut, E>(mut self, generate: F) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + 'static,
        E: fmt::Display,
    {
        self.generate_id = Some(Box::new(move |request| {
            let generated = generate(request);
            Box::pin(async move { generated.await.map_err(|error| error.to_string()) })
        }));
        self
    }

    /// May change the headers of the first response of each session, before
    /// [`on_headers`](Self::on_headers).
    pub fn on_initial_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static,
    ) -> Self {
        self.initial_headers.push(Box::new(change));
        self
    }

    /// May change the headers of each response of a session: polls and posts that succeed, and the
    /// 101 of a WebSocket. Errors and preflights do not pass here.
    pub fn on_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static,
    ) -> Self {
        self.headers.push(Box::new(change));
        self
    }

    /// Tells `listener` of the requests that are refused, before they are answered.
    pub fn on_connection_error<M>(mut self, listener: impl OnConnectionError<M>) -> Self {
        self.connection_error.push(listener.into_listener().0);
        self
    }
}

/// What the engine does with them.
impl Hooks {
    pub(crate) fn has_middlewares(&self) -> bool {
        !self.middlewares.is_empty()
    }

    /// Whether somebody wants to see the headers of this response.
    pub(crate) fn want_headers(&self, initial: bool) -> bool {
        !self.headers.is_empty() || initial && !self.initial_headers.is_empty()
    }

    pub(crate) fn want_errors(&self) -> bool {
        !self.connection_error.is_empty()
    }

    pub(crate) async fn run_middlewares(&self, request: &Arc<Request>) -> Result<(), Refused> {
        for middleware in &self.middlewares {
            if let Err(Refusal(text)) = middleware(Arc::clone(request)).await {
                debug!(error = text, "a middleware failed");
                let mut context = json!({ "name": "MIDDLEWARE_FAILURE" });
                if let Some(text) = text {
                    context["error"] = text.into();
                }
                return Err(RequestError::BadRequest.because(context));
            }
        }
        Ok(())
    }

    pub(crate) fn wants_permission(&self) -> bool {
        self.allow_request.is_some()
    }

    pub(crate) async fn ask_permission(&self, request: &Arc<Request>) -> Result<(), Refused> {
        let Some(allow) = &self.allow_request else { return Ok(()) };
        allow(Arc::clone(request)).await.map_err(|Refusal(text)| {
            let context =
                text.as_ref().map_or_else(|| json!({}), |text| json!({ "message": text }));
            RequestError::Forbidden(text).because(context)
        })
    }

    /// The application's own id for a session.
    pub(crate) async fn make_id(&self, request: &Arc<Request>) -> Result<String, Refused> {
        let Some(generate) = &self.generate_id else { return Err(no_id("nobody makes ids")) };
        generate(Arc::clone(request)).await.map_err(|error| no_id(&error))
    }

    pub(crate) fn makes_ids(&self) -> bool {
        self.generate_id.is_some()
    }

    pub(crate) fn change_headers(&self, headers: &mut HeaderMap, request: &Request, initial: bool) {
        let first = self.initial_headers.iter().filter(|_| initial);
        for change in first.chain(&self.headers) {
            change(headers, request);
        }
    }

    /// Tells the listeners. Returns how many could not be told.
    pub(crate) fn report(&self, refused: &Refused, request: &Arc<Request>) -> usize {
        let Some(code) = refused.error.code() else { return 0 };
        let untold = |listener: &&TakeError| {
            !listener(ConnectionError {
                code,
                message: refused.error.text(),
                context: refused.context.clone(),
                request: Arc::clone(request),
            })
        };
        let lost = self.connection_error.iter().filter(untold).count();
        if lost > 0 {
            debug!(code, lost, "listeners of connection errors do not keep up, or have ended");
        }
        lost
    }
}

/// The session cannot have the id that it should have.
pub(crate) fn no_id(error: &str) -> Refused {
    debug!(error, "no session id");
    RequestError::BadRequest.because(json!({ "name": "ID_GENERATION_ERROR", "error": error }))
}
