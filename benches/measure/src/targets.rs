//! What is to be reached. Where two workers are to reach the same as one, they are compared with
//! socketioxide on two threads, or on one where that fails its check.

/// A limit on what greenroom may cost in a row.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub server: &'static str,
    /// At most so much.
    pub factor: f64,
    pub of: Of,
}

/// What a limit is counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Of {
    Floor,
    JoinedFloor,
    /// On so many threads.
    Socketioxide(usize),
    /// The cheapest of socketioxide on so many threads and Node.js.
    BetterPeer(usize),
    Kibibytes,
}

use Of::{BetterPeer, Floor, JoinedFloor, Kibibytes, Socketioxide};

const ONE: &str = "greenroom 1";
const TWO: &str = "greenroom 2";
const LEAN: &str = "greenroom lean";

const fn at_most(server: &'static str, factor: f64, of: Of) -> Target {
    Target { server, factor, of }
}

pub const BROADCAST: &[Target] = &[
    at_most(ONE, 1.2, Floor),
    at_most(ONE, 0.85, Socketioxide(1)),
    at_most(TWO, 1.2, Floor),
    at_most(TWO, 0.85, Socketioxide(2)),
];
pub const BROADCAST_16: &[Target] = &[
    at_most(ONE, 0.8, Socketioxide(1)),
    at_most(ONE, 1.3, JoinedFloor),
    at_most(TWO, 1.0, Socketioxide(1)),
];
pub const PACED: &[Target] =
    &[at_most(ONE, 0.85, Socketioxide(1)), at_most(TWO, 0.85, Socketioxide(2))];
pub const LARGE: &[Target] = &[at_most(ONE, 1.15, Floor), at_most(TWO, 1.15, Floor)];
pub const ROOMS: &[Target] =
    &[at_most(ONE, 0.8, Socketioxide(1)), at_most(TWO, 1.1, Socketioxide(1))];
pub const ECHO: &[Target] =
    &[at_most(ONE, 0.85, Socketioxide(1)), at_most(TWO, 0.85, Socketioxide(2))];
pub const STORM: &[Target] =
    &[at_most(ONE, 0.95, Socketioxide(1)), at_most(TWO, 1.2, Socketioxide(1))];
pub const CONNECT: &[Target] =
    &[at_most(ONE, 1.0, Socketioxide(1)), at_most(TWO, 1.0, Socketioxide(2))];
pub const UPGRADE: &[Target] =
    &[at_most(ONE, 0.8, Socketioxide(1)), at_most(TWO, 0.8, Socketioxide(2))];
pub const IDLE: &[Target] =
    &[at_most(ONE, 11.0, Kibibytes), at_most(TWO, 11.0, Kibibytes), at_most(LEAN, 11.0, Kibibytes)];
pub const IDLE_UPGRADED: &[Target] =
    &[at_most(ONE, 14.0, Kibibytes), at_most(TWO, 14.0, Kibibytes), at_most(LEAN, 14.0, Kibibytes)];
pub const VARIANT: &[Target] =
    &[at_most(ONE, 0.85, BetterPeer(1)), at_most(TWO, 0.85, BetterPeer(2))];

/// What a target is measured against, by name of a server and its figure.
pub enum Reference {
    /// The figure itself must not exceed the factor.
    Absolute,
    Server(String, f64),
    /// A server without a figure.
    None(String),
}

impl Target {
    /// Finds the reference; `figure` is that of a server, if it has one.
    pub fn reference(&self, figure: impl Fn(&str) -> Option<f64>) -> Reference {
        let one = |name: String| match figure(&name) {
            Some(value) => Reference::Server(name, value),
            None => Reference::None(name),
        };
        match self.of {
            Kibibytes => Reference::Absolute,
            Floor => one("floor".into()),
            JoinedFloor => one("joined floor".into()),
            Socketioxide(threads) => match one(format!("socketioxide {threads}")) {
                // it fails its check there
                Reference::None(_) => one("socketioxide 1".into()),
                found => found,
            },
            BetterPeer(threads) => {
                let names = [format!("socketioxide {threads}"), "node".into(), "node tuned".into()];
                let with_figures =
                    names.into_iter().filter_map(|name| Some((figure(&name)?, name)));
                with_figures
                    .min_by(|(one, _), (other, _)| one.total_cmp(other))
                    .map_or(Reference::None("a peer".into()), |(value, name)| {
                        Reference::Server(name, value)
                    })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(target: &Target, figures: &[(&str, f64)]) -> String {
        let figure =
            |name: &str| figures.iter().find(|(known, _)| *known == name).map(|pair| pair.1);
        match target.reference(figure) {
            Reference::Absolute => "absolute".into(),
            Reference::Server(name, value) => format!("{name}: {value}"),
            Reference::None(name) => format!("no {name}"),
        }
    }

    #[test]
    fn a_peer_that_fails_on_two_threads_is_taken_on_one() {
        let target = at_most(TWO, 0.85, Socketioxide(2));
        let one = ("socketioxide 1", 3.0);
        assert_eq!(found(&target, &[one, ("socketioxide 2", 4.0)]), "socketioxide 2: 4");
        assert_eq!(found(&target, &[one]), "socketioxide 1: 3");
        assert_eq!(found(&target, &[]), "no socketioxide 1");
    }

    #[test]
    fn the_better_peer_is_the_cheapest_there_is() {
        let target = at_most(ONE, 0.85, BetterPeer(1));
        let figures = [("socketioxide 1", 3.0), ("node", 9.0), ("node tuned", 2.0)];
        assert_eq!(found(&target, &figures), "node tuned: 2");
        assert_eq!(found(&target, &figures[..2]), "socketioxide 1: 3");
    }
}
