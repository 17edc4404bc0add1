//! How many clients there may be: in total, of one address, and of those that have joined nothing.
//!
//! Everybody who wants to open a session takes a [`Seat`] before anything is asked or kept for it,
//! and gives it back by dropping it: at the end of the session, or when the request is refused or
//! breaks off.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use hashbrown::{HashMap, hash_map::Entry};

use super::{config::Config, routes::RequestError};

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
}

impl Admission {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections,
            max_handshakes: config.max_handshakes,
            max_per_address: config.max_connections_per_address,
            ipv6_prefix: config.ipv6_prefix,
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            addresses: Mutex::default(),
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
            return Err(RequestError::TooManyConnections);
        }
        // From here on it gives back what it has got.
        let mut seat = Seat { admission: Arc::clone(self), settled: true, address: None };
        if !take(&self.handshakes, self.max_handshakes) {
            return Err(RequestError::TooManyHandshakes);
        }
        seat.settled = false;
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
    settled: bool,
}

impl Seat {
    /// The client has joined something: its handshake is done.
    pub(crate) fn settle(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
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
    use super::*;

    fn admission(change: impl FnOnce(&mut Config)) -> Arc<Admission> {
        let mut config = Config::default();
        change(&mut config);
        Arc::new(Admission::new(&config))
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
