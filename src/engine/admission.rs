//! How many clients there may be: in total, of one address, and of those that have joined nothing.
//!
//! Everybody who wants to open a session takes a [`Seat`] before anything is asked or kept for it,
//! and gives it back by dropping it: when the session has ended and nothing carries it any more, or
//! when the request is refused or breaks off.
//!
//! Whoever has opened a session and joined nothing makes way for newcomers when there are too many of
//! these, the oldest first: opening sessions and leaving them would else keep everybody out.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use hashbrown::{HashMap, hash_map::Entry};

use super::{
    config::Config,
    pipe::{Pipe, WeakPipe},
    routes::RequestError,
    session::CloseReason,
};
use crate::metrics::Metrics;

/// The seats of one server, and who has them.
#[derive(Debug)]
pub(crate) struct Admission {
    max_connections: usize,
    max_handshakes: usize,
    max_per_address: Option<usize>,
    ipv6_prefix: u8,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    /// Only with a limit for each address. Locked for one look-up, when a session begins and ends.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    /// Sessions that have joined nothing, the oldest first. Locked when a session is opened, and when
    /// it joins something or ends.
    idle: Mutex<BTreeMap<u64, WeakPipe>>,
    /// The number of the next one.
    next: AtomicU64,
    metrics: Arc<Metrics>,
}

/// A [`Seat::stage`]: the request is being judged.
const JUDGED: u64 = 0;
/// The client has joined something.
const SETTLED: u64 = u64::MAX;
/// What is between these is the number of a session that has joined nothing.
const FIRST: u64 = JUDGED + 1;

impl Admission {
    pub(crate) fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        Self {
            max_connections: config.max_connections,
            max_handshakes: config.max_handshakes,
            max_per_address: config.max_connections_per_address,
            ipv6_prefix: config.ipv6_prefix,
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            addresses: Mutex::default(),
            idle: Mutex::default(),
            next: AtomicU64::new(FIRST),
            metrics,
        }
    }

    /// Whether [`Admission::admit`] wants to know who asks.
    pub(crate) fn counts_addresses(&self) -> bool {
        self.max_per_address.is_some()
    }

    /// A seat for a client of this address. A client without one, as of a Unix socket, is counted
    /// in total only.
    pub(crate) fn admit(
        self: &Arc<Self>,
        client: Option<SocketAddr>,
    ) -> Result<Seat, RequestError> {
        if !take(&self.connections, self.max_connections) {
            // Full of those who use it, or of those who only came? The seat is free when its session
            // has ended: for the next one who asks.
            let idle = self.handshakes.load(Ordering::Relaxed);
            if idle > self.max_connections / 4 && self.evict() {
                self.handshakes.fetch_sub(1, Ordering::Relaxed);
            }
            return Err(RequestError::TooManyConnections);
        }
        // From here on it gives back what it has got.
        let mut seat = Seat { admission: Arc::clone(self), stage: SETTLED, address: None };
        // The newcomer takes the place of the one that goes.
        if !take(&self.handshakes, self.max_handshakes) && !self.evict() {
            return Err(RequestError::TooManyHandshakes);
        }
        seat.stage = JUDGED;
        if let (Some(max), Some(client)) = (self.max_per_address, client) {
            let network = network(client.ip(), self.ipv6_prefix);
            let mut addresses = self.addresses();
            let count = addresses.entry(network).or_insert(0);
            if *count >= max {
                drop(addresses);
                return Err(RequestError::TooManyConnectionsOfAddress);
            }
            *count += 1;
            drop(addresses);
            seat.address = Some(Box::new(network));
        }
        Ok(seat)
    }

    /// Ends the oldest session that has joined nothing. It counts as no handshake any more, which is
    /// left to the caller to note.
    fn evict(&self) -> bool {
        let Some((_, oldest)) = self.idle().pop_first() else { return false };
        self.metrics.handshakes_evicted.increment();
        if let Some(pipe) = oldest.upgrade() {
            pipe.fail(CloseReason::TooManyHandshakes);
        }
        true
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<u64, WeakPipe>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, network: IpAddr) {
        let mut addresses = self.addresses();
        if let Entry::Occupied(mut entry) = addresses.entry(network) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        if addresses.is_empty() {
            // After a flood of addresses there is nothing left of it.
            *addresses = HashMap::new();
        }
    }
}

/// Counts one more, unless there are as many as may be.
fn take(count: &AtomicUsize, max: usize) -> bool {
    let more = |count: usize| (count < max).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// Which clients count as one: an IPv4 address, or an IPv6 network of this prefix.
fn network(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// The place of one client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    admission: Arc<Admission>,
    address: Option<Box<IpAddr>>,
    stage: u64,
}

impl Seat {
    /// The client has opened this session. If it joins nothing, it may have to make way.
    pub(crate) fn open(&mut self, pipe: &Pipe) {
        if self.stage == JUDGED {
            self.stage = self.admission.next.fetch_add(1, Ordering::Relaxed);
            self.admission.idle().insert(self.stage, pipe.downgrade());
        }
    }

    /// The client has left all that it had joined: it may have to make way again. If there are too many
    /// of its kind, the oldest of them goes.
    pub(crate) fn unsettle(&mut self, pipe: &Pipe) {
        if self.stage != SETTLED {
            return;
        }
        let admission = &self.admission;
        if !take(&admission.handshakes, admission.max_handshakes) && !admission.evict() {
            // All others are being judged, which does not take long.
            return;
        }
        self.stage = JUDGED;
        self.open(pipe);
    }

    /// The client has joined something: its handshake is done.
    pub(crate) fn settle(&mut self) {
        let counts = match std::mem::replace(&mut self.stage, SETTLED) {
            SETTLED => false,
            JUDGED => true,
            // Somebody else may have its place.
            number => self.admission.idle().remove(&number).is_some(),
        };
        if counts {
            self.admission.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.settle();
        if let Some(network) = self.address.take() {
            self.admission.leave(*network);
        }
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use smallvec::SmallVec;

    use super::*;
    use crate::engine::{Transport, dialect::Dialect, outbox::Bounds, pipe::Inbound};

    fn admission(change: impl FnOnce(&mut Config)) -> Arc<Admission> {
        let mut config = Config::default();
        change(&mut config);
        Arc::new(Admission::new(&config, Arc::default()))
    }

    fn client(ip: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(ip.parse().unwrap(), 4000))
    }

    #[test]
    fn there_are_as_many_seats_as_configured_and_a_seat_given_back_is_free() {
        let admission = admission(|config| config.max_connections = 2);
        let (first, _second) = (admission.admit(None).unwrap(), admission.admit(None).unwrap());
        assert_eq!(admission.admit(None).unwrap_err(), RequestError::TooManyConnections);
        drop(first);
        let _third = admission.admit(None).unwrap();
        assert!(admission.admit(None).is_err());
    }

    #[test]
    fn who_has_joined_something_is_no_handshake_any_more() {
        let admission = admission(|config| config.max_handshakes = 1);
        let mut first = admission.admit(None).unwrap();
        assert_eq!(admission.admit(None).unwrap_err(), RequestError::TooManyHandshakes);
        first.settle();
        first.settle();
        let second = admission.admit(None).unwrap();
        assert!(admission.admit(None).is_err());
        drop((first, second));
        assert_eq!(admission.connections.load(Ordering::Relaxed), 0);
        assert_eq!(admission.handshakes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_has_left_all_it_had_joined_makes_way_again() {
        let admission = admission(|config| config.max_handshakes = 1);
        let pipes = [session(Transport::WebSocket), session(Transport::WebSocket)];
        let mut seats = pipes.each_ref().map(|pipe| {
            let mut seat = admission.admit(None).unwrap();
            seat.open(pipe);
            seat.settle();
            seat
        });
        seats[0].unsettle(&pipes[0]);
        seats[1].unsettle(&pipes[1]);
        let evicted = Some(CloseReason::TooManyHandshakes);
        assert_eq!(pipes.each_ref().map(told), [evicted, None], "the first that has left");
        let newcomer = admission.admit(None).unwrap();
        assert_eq!(told(&pipes[1]), evicted);
        drop((seats, newcomer));
        assert_eq!(admission.handshakes.load(Ordering::Relaxed), 0);
        assert!(admission.idle().is_empty());
    }

    fn session(transport: Transport) -> Pipe {
        let bounds = Bounds { bytes: 1000, packets: 10 };
        Pipe::new(0, transport, Dialect::new(|_| Some("4")), bounds, Arc::default())
    }

    /// Why the session was told to end.
    fn told(pipe: &Pipe) -> Option<CloseReason> {
        let (mut cx, mut inbox) = (Context::from_waker(Waker::noop()), SmallVec::new());
        let _ = pipe.poll_inbox(&mut cx, 8, &mut inbox);
        inbox.into_iter().find_map(|(_, inbound)| match inbound {
            Inbound::Closed(reason) => Some(reason),
            _ => None,
        })
    }

    #[test]
    fn the_oldest_that_has_joined_nothing_makes_way_for_a_newcomer() {
        let admission = admission(|config| config.max_handshakes = 3);
        let pipes: Vec<_> = (0..3).map(|_| session(Transport::Polling)).collect();
        let mut seats: Vec<_> = pipes
            .iter()
            .map(|pipe| {
                let mut seat = admission.admit(None).unwrap();
                seat.open(pipe);
                seat
            })
            .collect();
        seats[0].settle();
        // A place is free, and nobody has to go for it.
        let judged = admission.admit(None).unwrap();
        assert_eq!(admission.metrics.snapshot().handshakes_evicted, 0);
        let more: Vec<_> = (0..2).map(|_| admission.admit(None).unwrap()).collect();
        let ends: Vec<_> = pipes.iter().map(told).collect();
        let evicted = Some(CloseReason::TooManyHandshakes);
        assert_eq!(ends, [None, evicted, evicted], "who has joined something stays");
        assert_eq!(admission.metrics.snapshot().handshakes_evicted, 2);
        // All three are being judged: none of them can go.
        assert_eq!(admission.admit(None).unwrap_err(), RequestError::TooManyHandshakes);
        drop(seats);
        assert!(admission.admit(None).is_err(), "the places of the evicted were taken over");
        drop(judged);
        assert!(admission.admit(None).is_ok());
        drop(more);
        assert_eq!(admission.handshakes.load(Ordering::Relaxed), 0);
        assert_eq!(admission.connections.load(Ordering::Relaxed), 0);
        assert!(admission.idle().is_empty());
    }

    #[test]
    fn a_server_full_of_those_who_only_came_lets_the_oldest_of_them_go() {
        let admission = admission(|config| config.max_connections = 8);
        let pipes: Vec<_> = (0..8).map(|_| session(Transport::WebSocket)).collect();
        let mut seats: Vec<_> = pipes
            .iter()
            .map(|pipe| {
                let mut seat = admission.admit(None).unwrap();
                seat.open(pipe);
                seat
            })
            .collect();
        seats[1..6].iter_mut().for_each(Seat::settle);
        for _ in 0..9 {
            assert_eq!(admission.admit(None).unwrap_err(), RequestError::TooManyConnections);
        }
        // Three had joined nothing; two are no more than a quarter.
        let ends: Vec<_> = pipes.iter().map(|pipe| told(pipe).is_some()).collect();
        assert_eq!(ends, [true, false, false, false, false, false, false, false]);
        assert_eq!(admission.handshakes.load(Ordering::Relaxed), 2);
        seats.remove(0);
        assert!(admission.admit(None).is_ok(), "its seat is free when it has ended");
    }

    #[test]
    fn each_address_has_its_own_limit_and_leaves_nothing_behind() {
        let admission = admission(|config| config.max_connections_per_address = Some(1));
        let first = admission.admit(client("192.0.2.1")).unwrap();
        let error = admission.admit(client("::ffff:192.0.2.1")).unwrap_err();
        assert_eq!(error, RequestError::TooManyConnectionsOfAddress, "the same in IPv6 clothes");
        let second = admission.admit(client("192.0.2.2")).unwrap();
        assert_eq!(admission.connections.load(Ordering::Relaxed), 2, "a refused one holds nothing");
        drop((first, second));
        assert_eq!(admission.addresses().capacity(), 0);
        assert_eq!(admission.handshakes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let admission = admission(|config| config.max_connections_per_address = Some(1));
        let _first = admission.admit(client("2001:db8:0:1::1")).unwrap();
        assert!(admission.admit(client("2001:db8:0:1:ffff::2")).is_err());
        assert!(admission.admit(client("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn the_prefix_may_be_anything_from_all_to_one_address() {
        let address = "2001:db8::1".parse().unwrap();
        assert_eq!(network(address, 128), address);
        assert_eq!(network(address, 200), address);
        assert_eq!(network(address, 32).to_string(), "2001:db8::");
        assert_eq!(network(address, 0).to_string(), "::");
    }

    #[test]
    fn clients_without_an_address_are_counted_in_total_only() {
        let admission = admission(|config| config.max_connections_per_address = Some(1));
        let seats: Vec<_> = (0..3).map(|_| admission.admit(None).unwrap()).collect();
        drop(seats);
        assert_eq!(admission.connections.load(Ordering::Relaxed), 0);
    }
}
