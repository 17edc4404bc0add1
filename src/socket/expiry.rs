//! Credentials that expire: how long a socket may stay.

use std::time::Duration;

use tokio::time::Instant;

use super::{Errand, Socket};

/// Until when a socket may stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    end: Instant,
    /// The application has been told that the end is near.
    warned: bool,
}

impl Expiry {
    /// When there is something to do.
    fn due(&self, warning: Duration) -> Instant {
        if self.warned { self.end } else { self.end.checked_sub(warning).unwrap_or(self.end) }
    }
}

/// What is to be done about a socket now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing, until then; without a time, for ever.
    Wait(Option<Instant>),
    /// The application is to be told, and the end comes then.
    Warn(Instant),
    /// Its time is over.
    Expired,
}

impl Socket {
    /// Gives the client's credentials a time to live, from now on, in place of the one they had.
    /// Call it in a middleware, and again when the client has shown new ones.
    ///
    /// Before the end, [`Namespace::on_expiring`](crate::Namespace::on_expiring) is told. At the end
    /// the socket leaves its namespace with
    /// [`DisconnectReason::CredentialsExpired`](crate::DisconnectReason::CredentialsExpired), and
    /// nothing that its client sends is taken any more. Its other namespaces stay.
    ///
    /// A client that [comes back](Self::recovered) with such a socket passes the middlewares again,
    /// whatever the options of recovery say.
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenroom::prelude::*;
    ///
    /// # fn seconds_left(token: &str) -> Option<u64> { Some(3600) }
    /// let vault = Namespace::new("/vault")
    ///     .before_connect(|socket: Socket| async move {
    ///         let token = socket.handshake().auth["token"].as_str().unwrap_or_default();
    ///         let left = seconds_left(token).ok_or_else(|| ConnectError::new("not authorized"))?;
    ///         socket.expire_in(Duration::from_secs(left));
    ///         Ok::<_, ConnectError>(())
    ///     })
    ///     .on_expiring(|socket: Socket| async move { socket.emit("token please", &()) })
    ///     .on("token", |socket: Socket, token: String| async move {
    ///         let left = seconds_left(&token).ok_or_else(|| EventError::new("not authorized"))?;
    ///         socket.expire_in(Duration::from_secs(left));
    ///         Ok::<_, EventError>(())
    ///     });
    /// ```
    pub fn expire_in(&self, time_to_live: Duration) {
        // A time that no clock reaches is no end.
        match Instant::now().checked_add(time_to_live) {
            Some(end) => self.set_expiry(Expiry { end, warned: false }),
            None => self.expire_never(),
        }
    }

    /// The client's credentials have no time to live any more.
    pub fn expire_never(&self) {
        if let Some(extras) = self.extras().as_mut() {
            extras.expiry = None;
        }
    }

    /// The rest of the time to live that the client's credentials were given, if they were given one.
    pub fn expires_in(&self) -> Option<Duration> {
        Some(self.expiry()?.end.saturating_duration_since(Instant::now()))
    }

    fn expiry(&self) -> Option<Expiry> {
        self.extras().as_ref()?.expiry.as_deref().copied()
    }

    fn set_expiry(&self, expiry: Expiry) {
        if self.is_over() {
            return;
        }
        let before = self.extras().get_or_insert_default().expiry.replace(Box::new(expiry));
        let due = |expiry: &Expiry| expiry.due(self.home().description.expiry_warning);
        // The connection has an alarm for what was before; when that goes off, it looks again.
        if before.is_none_or(|before| due(&expiry) < due(&before)) {
            self.errand(Errand::Expiring);
        }
    }

    /// Whether the credentials of its client have a time to live.
    pub(crate) fn has_expiry(&self) -> bool {
        self.expiry().is_some()
    }

    /// What is to be done at this time. Of a warning it is said once, and of the end.
    pub(crate) fn judge_expiry(&self, now: Instant) -> Verdict {
        let mut extras = self.extras();
        let Some(extras) = extras.as_mut() else { return Verdict::Wait(None) };
        let Some(expiry) = &mut extras.expiry else { return Verdict::Wait(None) };
        let description = &self.home().description;
        if expiry.end <= now {
            return Verdict::Expired;
        }
        // Nobody to be told: the next thing to happen is the end.
        expiry.warned |= description.listeners.expiring.is_empty();
        let due = expiry.due(description.expiry_warning);
        if due > now {
            return Verdict::Wait(Some(due));
        }
        expiry.warned = true;
        Verdict::Warn(expiry.end)
    }
}
