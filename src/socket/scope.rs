//! What an operator works on: one namespace, or all children of a parent.

use std::{fmt, sync::Arc};

use actix::{dev::RecipientRequest, prelude::*};
use futures_util::future::join_all;

use super::home::Home;
use crate::{
    engine::{outbox::Way, pipe::Pipe},
    room::messages::Origin,
};

/// Several namespaces that are operated together.
pub(crate) trait Scope: Send + Sync {
    /// Those that exist now.
    fn homes(&self) -> Vec<Arc<Home>>;
}

/// See the module's description. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Homes {
    One(Arc<Home>),
    Children(Arc<dyn Scope>),
}

impl fmt::Debug for Homes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(home) => home.fmt(f),
            Self::Children(_) => f.write_str("Children"),
        }
    }
}

impl Homes {
    /// Hands an operation of the client of `pipe` to each namespace, see [`Home::submit`].
    /// Returns how many there are.
    pub(super) fn submit(
        &self,
        pipe: Option<&Pipe>,
        returns: bool,
        mut send: impl FnMut(&Home, Option<Origin>) + Send + 'static,
    ) -> usize {
        let scope = match self {
            Self::One(home) => {
                home.current().submit(pipe, returns, move |home, origin| send(home, origin));
                return 1;
            }
            Self::Children(scope) => scope,
        };
        let homes = scope.homes();
        let count = homes.len();
        // One operation, however many namespaces: it has arrived when it has arrived everywhere.
        let way: Way = Arc::as_ptr(scope).cast::<()>().addr();
        let mut all = move |origin: Option<Origin>| {
            homes.iter().for_each(|home| send(home, origin.clone()));
        };
        match pipe {
            Some(pipe) if returns => Origin::begin(pipe, way, move |origin| all(Some(origin))),
            Some(pipe) => pipe.follow(way, move || all(None)),
            None => all(None),
        }
        count
    }

    /// Asks each namespace something, see [`Home::ask`]; those that have ended do not answer.
    pub(super) async fn ask<M>(
        &self,
        pipe: Option<&Pipe>,
        send: impl Fn(&Home) -> RecipientRequest<M> + Clone + Send + 'static,
    ) -> Vec<(Arc<Home>, M::Result)>
    where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        match self {
            Self::One(home) => {
                let home = home.current();
                let answer = home.ask(pipe, send).await;
                answer.map(|answer| (home, answer)).into_iter().collect()
            }
            Self::Children(scope) => {
                let homes = scope.homes();
                let asked = homes.iter().map(|home| home.ask(pipe, send.clone()));
                let answers = join_all(asked).await;
                let pairs = homes.iter().zip(answers);
                pairs.filter_map(|(home, answer)| Some((Arc::clone(home), answer?))).collect()
            }
        }
    }
}
