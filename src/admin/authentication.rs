//! Who may use the interface.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::{attempts::Attempts, sessions::SessionStore};
use crate::metrics::Metrics;

/// Passwords that are compared at the same time, each by a thread that may block.
const COMPARISONS: usize = 2;
/// Logins that wait for that; more are refused.
const WAITING: usize = 32;
/// Bytes of a name or a password. bcrypt looks at the first 72.
const MAX_BYTES: usize = 1024;

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The name, the password or the session is wrong.
    Credentials,
    /// There were too many attempts from that address; the next may be made then.
    TooMany(Duration),
    /// Too many are logging in at this moment.
    Busy,
}

impl Denied {
    /// What the client reads; the first is the reference's.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Credentials => "invalid credentials",
            Self::TooMany(_) => "too many attempts, try again later",
            Self::Busy => "too many logins, try again later",
        }
    }
}

/// How users are told from others.
#[derive(Clone)]
pub(super) enum Method {
    /// Everybody may.
    Open,
    Basic {
        username: String,
        /// Of bcrypt.
        hash: String,
    },
}

/// See the module's description.
pub(super) struct Authentication {
    method: Method,
    store: Arc<dyn SessionStore>,
    /// Locked for one look-up, when somebody logs in.
    attempts: Mutex<Attempts>,
    comparing: Semaphore,
    waiting: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// One that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Authentication {
    pub(super) fn new(
        method: Method,
        store: Arc<dyn SessionStore>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self {
            method,
            store,
            attempts: Mutex::default(),
            comparing: Semaphore::new(COMPARISONS),
            waiting: AtomicUsize::new(0),
            metrics: Arc::clone(metrics),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.method, Method::Open)
    }

    /// What a client says when it joins the admin namespace. The id of a new session, if one began.
    pub(super) async fn admit(
        &self,
        auth: &Value,
        address: Option<IpAddr>,
    ) -> Result<Option<String>, Denied> {
        if self.is_open() {
            return Ok(None);
        }
        let text = |name: &str| auth[name].as_str().unwrap_or_default();
        if self.resume(text("sessionId")).await {
            return Ok(None);
        }
        self.check(text("username"), text("password"), address).await?;
        Ok(Some(self.begin_session().await))
    }

    /// Whether this is the id of a session.
    pub(super) async fn resume(&self, id: &str) -> bool {
        !id.is_empty() && id.len() <= MAX_BYTES && self.store.exists(id).await
    }

    /// Saves a new session.
    pub(super) async fn begin_session(&self) -> String {
        let id = format!("{:032x}", rand::random::<u128>());
        self.store.save(&id).await;
        id
    }

    /// Compares name and password, as often as may be.
    pub(super) async fn check(
        &self,
        username: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<(), Denied> {
        let Method::Basic { username: expected, hash } = &self.method else { return Ok(()) };
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let result = self.compare(username, password, expected, hash, address).await;
        match result {
            Ok(()) => {
                self.attempts().forgive(address);
                info!(%address, "somebody has logged in to the admin interface");
            }
            Err(denied) => {
                self.metrics.admin_logins_refused.increment();
                warn!(%address, reason = denied.text(), "login to the admin interface refused");
            }
        }
        result
    }

    async fn compare(
        &self,
        username: &str,
        password: &str,
        expected: &str,
        hash: &str,
        address: IpAddr,
    ) -> Result<(), Denied> {
        if username.is_empty() || username.len() > MAX_BYTES || password.len() > MAX_BYTES {
            // A client that has a session which has ended says no name: nobody guesses so.
            return Err(Denied::Credentials);
        }
        self.attempts().begin(address, Instant::now()).map_err(Denied::TooMany)?;
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Denied::Busy);
        }
        let waiting = Waiting(&self.waiting);
        let Ok(_permit) = self.comparing.acquire().await else { return Err(Denied::Busy) };
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let compared = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        drop(waiting);
        // The password is compared for every name, so that the time does not tell which one exists.
        let known: bool = username.as_bytes().ct_eq(expected.as_bytes()).into();
        match compared {
            Ok(Ok(true)) if known => Ok(()),
            _ => Err(Denied::Credentials),
        }
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
