//! Namespaces born of a pattern or of a function, when the first client asks for one.

use std::{fmt, future::Future, sync::Arc};

use regex::Regex;
use tracing::debug;

use super::Namespace;
use crate::{
    engine::LocalFuture,
    metrics::Metrics,
    socket::{
        Handshake,
        home::{Common, Description},
    },
};

type Accepts = Arc<dyn Fn(String, Handshake) -> LocalFuture<bool> + Send + Sync>;

/// Which names a parent takes.
#[derive(Clone)]
pub(crate) enum Rule {
    Pattern(Regex),
    Function(Accepts),
}

/// What the function of a [`Parent`] answers: `bool`, or a `Result` of it. An error refuses, as
/// `false` does.
///
/// ```
/// use greenroom::prelude::*;
///
/// # async fn is_customer(_: &str) -> std::io::Result<bool> { Ok(true) }
/// let tenants = Parent::accepting("tenants", |name: String, _: Handshake| async move {
///     match name.strip_prefix("/tenant-") {
///         Some(tenant) => is_customer(tenant).await,      // what fails lets nobody in
///         None => Ok(false),
///     }
/// });
/// ```
pub trait Acceptance {
    #[doc(hidden)]
    fn accepted(self) -> bool;
}

impl Acceptance for bool {
    fn accepted(self) -> bool {
        self
    }
}

impl<E: fmt::Display> Acceptance for Result<bool, E> {
    fn accepted(self) -> bool {
        self.unwrap_or_else(|error| {
            debug!(%error, "the function of a parent namespace failed");
            false
        })
    }
}

/// A parent of namespaces: it says which names it takes, and describes the namespaces of these
/// names. Each is started when the first client asks for it.
///
/// ```
/// use greenroom::prelude::*;
///
/// let tenants = Parent::matching(r"^/tenant-\w+$").children(|tenant| {
///     tenant.on("say", |socket: Socket, text: String| async move {
///         // `socket.namespace()` is the name of the child.
///         socket.everyone().emit("said", &(socket.namespace(), text))
///     })
/// });
/// ```
///
/// Give it to [`SocketIoBuilder::parent`](crate::SocketIoBuilder::parent) or
/// [`SocketIo::spawn_parent`](crate::SocketIo::spawn_parent). A namespace that runs under a name
/// comes first, then the parents in the order they were added.
pub struct Parent {
    name: Arc<str>,
    rule: Rule,
    template: Namespace,
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Parent {
    /// Takes the names in which the regular expression finds something. A name begins with its
    /// slash; anchor the pattern (`^..$`) to compare all of it. The parent is named by the pattern.
    ///
    /// # Panics
    /// If it is not a regular expression as the `regex` crate knows them; see [`Parent::regex`].
    #[must_use]
    #[track_caller]
    pub fn matching(pattern: &str) -> Self {
        match Regex::new(pattern) {
            Ok(regex) => Self::regex(regex),
            Err(error) => panic!("{pattern:?} is not a pattern: {error}"),
        }
    }

    /// The same with a regular expression that has been compiled.
    #[must_use]
    pub fn regex(regex: Regex) -> Self {
        let name = regex.as_str().into();
        Self { name, rule: Rule::Pattern(regex), template: Namespace::new("/") }
    }

    /// Takes the names that an async fn accepts; it is given the name and the client's handshake.
    /// It runs on the client's worker, again for each client that asks for a name that does not
    /// exist yet.
    #[must_use]
    pub fn accepting<F, Fut>(name: &str, accepts: F) -> Self
    where
        F: Fn(String, Handshake) -> Fut + Send + Sync + 'static,
        Fut: Future + 'static,
        Fut::Output: Acceptance,
    {
        let accepts: Accepts = Arc::new(move |name, handshake| {
            let answer = accepts(name, handshake);
            Box::pin(async move { answer.await.accepted() })
        });
        Self { name: name.into(), rule: Rule::Function(accepts), template: Namespace::new("/") }
    }

    /// Describes the children: middlewares, listeners, settings. All children share what is
    /// described here.
    #[must_use]
    pub fn children(mut self, describe: impl FnOnce(Namespace) -> Namespace) -> Self {
        self.template = describe(self.template);
        self
    }

    /// The pattern, or the name that was given with the function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is left when it joins a server: its name, its rule, and what its children share.
    pub(crate) fn into_parts(
        mut self,
        metrics: &Arc<Metrics>,
        common: &Common,
    ) -> (Arc<str>, Rule, Arc<Description>) {
        self.template.join_server(metrics, common, &self.name);
        (self.name, self.rule, self.template.description)
    }
}
