//! The places of peers that have not introduced themselves, and which of them make room.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use crate::foreign;
use crate::link::PendingLink;

/// So many there are.
const PLACES: usize = 256;

#[derive(Default)]
pub(super) struct Places {
    /// By age.
    peers: BTreeMap<usize, PendingLink>,
    newest: usize,
}

impl Places {
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &PendingLink)> {
        self.peers.iter().map(|(index, peer)| (*index, peer))
    }

    /// When the first of them is late.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.peers.values().filter_map(|peer| peer.due).min()
    }

    /// Takes in a newcomer. If all places are taken, another peer makes room.
    pub(super) fn insert(&mut self, peer: PendingLink) -> usize {
        if self.peers.len() >= PLACES
            && let Some(peer) = self.make_room()
        {
            foreign::log!(debug, "{}: dropped for a newer peer before its hello", peer.addr);
        }
        self.newest += 1;
        self.peers.insert(self.newest, peer);
        self.newest
    }

    pub(super) fn take(&mut self, index: usize) -> Option<PendingLink> {
        self.peers.remove(&index)
    }

    pub(super) fn put_back(&mut self, index: usize, peer: PendingLink) {
        self.peers.insert(index, peer);
    }

    /// Takes out the peer that makes room first: one that was refused, or else one from where
    /// most come, and of several the oldest.
    pub(super) fn make_room(&mut self) -> Option<PendingLink> {
        let mut crowds: HashMap<IpAddr, usize> = HashMap::new();
        for peer in self.peers.values() {
            *crowds.entry(network(peer.addr)).or_default() += 1;
        }
        let rank = |peer: &PendingLink| (peer.is_refused(), crowds[&network(peer.addr)]);
        // Of equals, the last one that is looked at.
        let first = self.peers.iter().rev().max_by_key(|(_, peer)| rank(peer));
        let index = *first?.0;
        self.peers.remove(&index)
    }

    pub(super) fn drop_late(&mut self, now: Instant) {
        self.peers.retain(|_, peer| {
            let late = peer.is_late(now);
            if late && !peer.is_refused() {
                foreign::log!(info, "{}: dropped, its hello took too long", peer.addr);
            }
            !late
        });
    }
}

/// What one machine can have many addresses of: in IPv6, 64 bits are its own.
fn network(addr: SocketAddr) -> IpAddr {
    match addr.ip().to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::net::Socket;
    use crate::sync;

    fn peer(ip: &str) -> PendingLink {
        let addr = SocketAddr::new(ip.parse().unwrap(), 1);
        PendingLink::new(Socket::spare().unwrap(), addr, None)
    }

    fn places(ips: &[&str]) -> Places {
        let mut places = Places::default();
        for ip in ips {
            places.insert(peer(ip));
        }
        places
    }

    /// The order in which they make room.
    fn order(mut places: Places) -> Vec<String> {
        std::iter::from_fn(|| places.make_room()).map(|peer| peer.addr.ip().to_string()).collect()
    }

    #[test]
    fn those_make_room_of_whom_there_are_most_and_the_oldest_first() {
        assert_eq!(
            order(places(&["1.0.0.1", "1.0.0.2", "1.0.0.3"])),
            ["1.0.0.1", "1.0.0.2", "1.0.0.3"]
        );
        let crowd = places(&["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.2", "1.0.0.3", "1.0.0.3"]);
        let expected = ["1.0.0.3", "1.0.0.2", "1.0.0.3", "1.0.0.1", "1.0.0.2", "1.0.0.3"];
        assert_eq!(order(crowd), expected);
    }

    /// A machine has all addresses of a network of 64 bits, and in IPv4 one.
    #[test]
    fn addresses_are_of_one_machine_if_one_machine_can_have_them() {
        let v6 = ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2"];
        assert_eq!(order(places(&v6)), [v6[1], v6[0], v6[2]]);
        // As a listener on all addresses sees them.
        let v4 = ["::ffff:1.0.0.1", "2001:db8::1", "2001:db8::2", "::ffff:1.0.0.2"];
        assert_eq!(order(places(&v4)), [v4[1], v4[0], v4[2], v4[3]]);
    }

    #[test]
    fn refused_peers_make_room_before_all_others() {
        let mut places = places(&["1.0.0.1", "1.0.0.1"]);
        for ip in ["1.0.0.2", "1.0.0.3"] {
            let mut refused = peer(ip);
            refused.refuse(sync::now());
            places.insert(refused);
        }
        assert_eq!(order(places), ["1.0.0.2", "1.0.0.3", "1.0.0.1", "1.0.0.1"]);
    }

    #[test]
    fn a_newcomer_takes_the_place_of_another_only_if_there_is_no_other_place() {
        let mut places = Places::default();
        for _ in 0..PLACES {
            places.insert(peer("1.0.0.1"));
        }
        assert_eq!(places.iter().next().map(|(index, _)| index), Some(1));
        let newest = places.insert(peer("1.0.0.2"));
        assert_eq!(places.iter().next().map(|(index, _)| index), Some(2));
        assert_eq!((places.iter().count(), newest), (PLACES, PLACES + 1));
    }
}
