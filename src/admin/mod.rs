//! Layer 9: the admin interface. The official Admin UI connects to it, and programs use its JSON API.

mod api;
mod attempts;
mod authentication;
mod commands;
mod desk;
mod listing;
mod namespace;
mod sessions;
mod sights;
mod stats;
mod view;

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, atomic::AtomicUsize},
};

use tokio::sync::mpsc;
use tracing::warn;

pub use self::sessions::{SessionFuture, SessionStore};
use self::{
    authentication::{Authentication, Method},
    desk::{Desk, Work},
    sessions::MemorySessions,
    stats::Stats,
    view::View,
};
use crate::{server::SocketIo, socket::tap::Tap};

/// How much the Admin UI is shown.
///
/// ```
/// use greenroom::admin::{Admin, Mode};
///
/// let mode = if cfg!(debug_assertions) { Mode::Development } else { Mode::Production };
/// let admin = Admin::new().mode(mode);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Every socket, room and event, as they come and go. While nobody is logged in it costs next to
    /// nothing; in a cluster it costs always, because somebody may be logged in to another server.
    #[default]
    Development,
    /// Only counts: clients, sockets of each namespace, packets and bytes.
    Production,
}

/// The options of the admin interface, see [`SocketIo::admin`].
///
/// ```
/// use greenroom::{SocketIo, admin::Admin};
///
/// # fn main() -> Result<(), greenroom::admin::AdminError> {
/// # actix::System::new().block_on(async {
/// let io = SocketIo::builder().start();
/// // The hash of "changeit", as `htpasswd -nbB` or any other program for bcrypt makes it.
/// let hash = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";
/// let admin = io.admin(Admin::new().basic_auth("admin", hash))?;
/// # Ok(())
/// # })
/// # }
/// ```
#[must_use = "it does nothing before it is given to `SocketIo::admin`"]
pub struct Admin {
    method: Option<Method>,
    namespace: String,
    read_only: bool,
    mode: Mode,
    server_id: Option<String>,
    store: Arc<dyn SessionStore>,
    max_listed: usize,
    max_events: u32,
    credentials: bool,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the hash of the password.
        f.debug_struct("Admin")
            .field("namespace", &self.namespace)
            .field("read_only", &self.read_only)
            .field("mode", &self.mode)
            .field("server_id", &self.server_id)
            .finish_non_exhaustive()
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self::new()
    }
}

impl Admin {
    /// The default options. One of [`basic_auth`](Self::basic_auth) and
    /// [`without_authentication`](Self::without_authentication) has to be said.
    pub fn new() -> Self {
        Self {
            method: None,
            namespace: "/admin".to_owned(),
            read_only: false,
            mode: Mode::default(),
            server_id: None,
            store: Arc::new(MemorySessions::default()),
            max_listed: 10_000,
            max_events: 1000,
            credentials: false,
        }
    }

    /// Users log in with this name and the password whose bcrypt hash this is (`$2a$`, `$2b$`, `$2x$`
    /// or `$2y$`).
    ///
    /// The password is compared on a thread that may block, two at a time. Of one address ten
    /// attempts may fail, and then one in ten seconds. Whoever has logged in gets the id of a
    /// session, by which the Admin UI comes back without asking for the password.
    pub fn basic_auth(
        mut self,
        username: impl Into<String>,
        bcrypt_hash: impl Into<String>,
    ) -> Self {
        self.method = Some(Method::Basic { username: username.into(), hash: bcrypt_hash.into() });
        self
    }

    /// **Everybody who reaches the server** may use the interface, and do with its sockets what they
    /// like unless it is [read-only](Self::read_only).
    pub fn without_authentication(mut self) -> Self {
        self.method = Some(Method::Open);
        self
    }

    /// The namespace of the Admin UI. Default `/admin`.
    pub fn namespace_name(mut self, name: impl Into<String>) -> Self {
        self.namespace = name.into();
        self
    }

    /// Whether users may only look: nothing is emitted, and no socket joins, leaves or is
    /// disconnected at their wish. Default `false`.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// How much the Admin UI is shown. Default [`Mode::Development`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// What this server is called in the UI. Servers of one cluster need different ones. Default: the
    /// name of the host; with an [`adapter`](crate::SocketIoBuilder::adapter) also the id of the
    /// process, as `host#4711`.
    pub fn server_id(mut self, id: impl Into<String>) -> Self {
        self.server_id = Some(id.into());
        self
    }

    /// Where the sessions of users are kept who have logged in. Default: in memory, 1,024 of them for
    /// 24 hours each.
    pub fn session_store(mut self, store: impl SessionStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// How many sockets the UI is shown when it connects; those that connect later are shown as
    /// well. Default 10,000: the UI keeps each of them in the page. The JSON API pages through all.
    pub fn max_listed(mut self, sockets: usize) -> Self {
        self.max_listed = sockets;
        self
    }

    /// How many events that came or were sent are shown in one second. Those beyond are counted
    /// ([`Snapshot::admin_sightings_dropped`](crate::Snapshot::admin_sightings_dropped)). Default
    /// 1,000: the UI keeps the last 1,000.
    pub fn max_events_per_second(mut self, events: u32) -> Self {
        self.max_events = events;
        self
    }

    /// Whether users see the headers `authorization`, `proxy-authorization` and `cookie` of the
    /// clients, by which they could be them. Default `false`: they see "(hidden)".
    pub fn show_credentials(mut self, show: bool) -> Self {
        self.credentials = show;
        self
    }
}

/// Why there is no admin interface.
///
/// ```
/// use greenroom::{SocketIo, admin::{Admin, AdminError}};
///
/// # actix::System::new().block_on(async {
/// # let (io, hash) = (SocketIo::builder().start(), "changeit");
/// match io.admin(Admin::new().basic_auth("admin", hash)) {
///     Ok(_) => println!("open https://admin.socket.io"),
///     Err(AdminError::InvalidHash) => eprintln!("not a password, but its hash is needed"),
///     Err(error) => eprintln!("there is no admin interface: {error}"),
/// }
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// It was not said who may use it.
    #[error("say `basic_auth` or, if everybody may use it, `without_authentication`")]
    NoAuthentication,
    /// The password is no hash of bcrypt, or one of a cost above 16, which takes many seconds.
    #[error("the password must be a bcrypt hash of a cost of at most 16")]
    InvalidHash,
    /// A namespace of its name runs already.
    #[error("there is a namespace `{0}` already")]
    NamespaceTaken(String),
    /// The server has one already.
    #[error("the server has an admin interface already")]
    Twice,
}

/// bcrypt doubles its work with each step.
const MAX_COST: u32 = 16;

fn check(method: &Method) -> Result<(), AdminError> {
    match method {
        Method::Open => {
            warn!("the admin interface has no authentication: everybody may use it");
            Ok(())
        }
        Method::Basic { hash, .. } => match bcrypt::HashParts::from_str(hash) {
            Ok(parts) if parts.get_cost() <= MAX_COST => Ok(()),
            _ => Err(AdminError::InvalidHash),
        },
    }
}

/// A running admin interface. Cloning is cheap; it goes on when this is dropped.
///
/// [`routes`](Self::routes) shows one in a server.
#[derive(Clone, Debug)]
pub struct AdminInterface {
    desk: Arc<Desk>,
}

impl SocketIo {
    /// Opens an interface for administrators: a namespace that the official Admin UI of Socket.IO
    /// connects to, and a JSON API (see [`AdminInterface::routes`]).
    ///
    /// The Admin UI is a page of another origin, so the server needs [`Cors`](crate::Cors) with
    /// credentials for `https://admin.socket.io`, or wherever the page is.
    ///
    /// # Errors
    /// If it was not said who may use it, the hash of the password is none, or there is such a
    /// namespace or another interface already.
    ///
    /// # Panics
    /// Outside an actix system.
    #[track_caller]
    pub fn admin(&self, admin: Admin) -> Result<AdminInterface, AdminError> {
        let method = admin.method.ok_or(AdminError::NoAuthentication)?;
        check(&method)?;
        let name = crate::server::normalized(&admin.namespace);
        if self.namespace(&name).is_some() {
            return Err(AdminError::NamespaceTaken(name));
        }
        let metrics = Arc::clone(self.counters());
        let (tap, sightings) = Tap::new(&name, &metrics);
        if !self.set_tap(&tap) {
            return Err(AdminError::Twice);
        }
        let clustered = self.cluster_state().is_some();
        let stats = Stats::new(admin.server_id, clustered);
        let (orders, taken) = mpsc::channel(desk::ORDERS);
        let desk = Arc::new(Desk {
            io: self.downgrade(),
            name,
            server_id: stats.server_id.clone(),
            read_only: admin.read_only,
            mode: admin.mode,
            clustered,
            max_listed: admin.max_listed,
            max_events: admin.max_events,
            authentication: Authentication::new(method, admin.store, &metrics),
            view: View::new(admin.credentials),
            tap,
            metrics,
            orders,
            admins: AtomicUsize::new(0),
        });
        self.spawn(namespace::describe(&desk));
        actix::spawn(desk::run(Arc::clone(&desk), Work { sightings, orders: taken, stats }));
        Ok(AdminInterface { desk })
    }
}
