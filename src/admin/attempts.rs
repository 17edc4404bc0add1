//! How often somebody may try to log in. No clock: the time is given.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use hashbrown::HashMap;

/// Attempts that may be made at once.
const BURST: u32 = 10;
/// After these, one more in this time.
const INTERVAL: Duration = Duration::from_secs(10);
/// Addresses that are remembered. Beyond, the one that is forgotten next makes way.
const ADDRESSES: usize = 4096;

/// Attempts that were not successful, by address.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When all attempts of an address will have been worked off.
    even: HashMap<IpAddr, Instant>,
}

/// One household has at least this much of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Attempts {
    /// Counts an attempt.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub(super) fn begin(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = network(address);
        if self.even.len() >= ADDRESSES && !self.even.contains_key(&address) {
            self.make_room(now);
        }
        let even = self.even.entry(address).or_insert(now);
        let next = (*even).max(now) + INTERVAL;
        let debt = next.duration_since(now);
        if debt > INTERVAL * BURST {
            return Err(debt - INTERVAL * BURST);
        }
        *even = next;
        Ok(())
    }

    /// The attempt was successful: the ones before are forgiven.
    pub(super) fn forgive(&mut self, address: IpAddr) {
        self.even.remove(&network(address));
    }

    fn make_room(&mut self, now: Instant) {
        self.even.retain(|_, even| *even > now);
        if self.even.len() >= ADDRESSES {
            let next = self.even.iter().min_by_key(|(_, even)| **even).map(|(address, _)| *address);
            if let Some(next) = next {
                self.even.remove(&next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn ten_attempts_are_free_and_then_one_in_ten_seconds() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(attempts.begin(ANN, start), Ok(()));
        }
        assert_eq!(attempts.begin(ANN, start), Err(Duration::from_secs(10)));
        let later = start + Duration::from_secs(10);
        assert_eq!(attempts.begin(ANN, later), Ok(()));
        assert_eq!(attempts.begin(ANN, later), Err(Duration::from_secs(10)));
        attempts.forgive(ANN);
        assert_eq!(attempts.begin(ANN, later), Ok(()));
    }

    #[test]
    fn who_has_a_network_of_ipv6_has_as_many_attempts_as_anybody() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for last in 0..10 {
            let address = format!("2001:db8:0:1::{last}").parse().unwrap();
            assert_eq!(attempts.begin(address, start), Ok(()));
        }
        assert!(attempts.begin("2001:db8:0:1:ffff::1".parse().unwrap(), start).is_err());
        assert!(attempts.begin("2001:db8:0:2::1".parse().unwrap(), start).is_ok());
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network(mapped), ANN);
    }

    #[test]
    fn so_many_addresses_are_remembered() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for n in 0..10_000_u32 {
            let at = start + Duration::from_millis(n.into());
            attempts.begin(IpAddr::V4((0x0a00_0000 + n).into()), at).unwrap();
        }
        assert_eq!(attempts.even.len(), ADDRESSES);
    }
}
