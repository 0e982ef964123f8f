//! Places for connections, and which connection is closed to make room for another.
//!
//! A connection is unknown until a request on it shows a client's key or the admin token. A new connection always gets a place: if
//! none is free, an older unknown one is closed. So hostile clients only displace each other, and a health check is answered beside
//! any number of them. Known connections have their own places, of which each client has a part.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Unknown connections in all, and from one network peer.
const UNKNOWN: usize = 256;
const UNKNOWN_OF_PEER: usize = 64;

/// Known connections in all, and of one client.
const KNOWN: usize = 256;
const KNOWN_OF_CLIENT: usize = 64;

/// A connection whose state is younger is closed last, so that a new one has time for its request.
const GRACE: Duration = Duration::from_secs(1);

/// All places.
#[derive(Clone, Debug, Default)]
pub(super) struct Hall(Arc<Mutex<Table>>);

/// The place of a connection, until its last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Seat(Arc<Seated>);

/// An active request, until its response is sent or dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Seat);

#[derive(Debug)]
struct Seated {
    hall: Hall,
    id: u64,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    places: BTreeMap<u64, Place>,
}

#[derive(Debug)]
struct Place {
    peer: IpAddr,
    /// The client of the latest request that showed a key or the token; `None` while unknown.
    client: Option<Arc<str>>,
    active: bool,
    /// When the connection was accepted, or its latest request began or ended.
    since: Instant,
    closed: CancellationToken,
}

impl Hall {
    /// A place for a connection from `peer`.
    pub(super) fn enter(&self, peer: IpAddr) -> Seat {
        let (id, closed) = self.table().enter(peer, Instant::now());
        Seat(Arc::new(Seated {
            hall: self.clone(),
            id,
            closed,
        }))
    }

    /// Closes an unknown connection, if there is one.
    pub(super) fn make_room(&self) {
        self.table().make_room(Instant::now());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Marks a request as active.
    pub(super) fn begin(&self) -> UnderWay {
        self.set_active(true);
        UnderWay(self.clone())
    }

    /// Makes the connection one of a known client. False if the client has no place left.
    pub(super) fn admit(&self, client: &Arc<str>) -> bool {
        self.0.hall.table().admit(self.0.id, client)
    }

    /// Returns once the connection must make room.
    pub(super) async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    fn set_active(&self, active: bool) {
        if let Some(place) = self.0.hall.table().places.get_mut(&self.0.id) {
            place.active = active;
            place.since = Instant::now();
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set_active(false);
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.hall.table().places.remove(&self.id);
    }
}

impl Table {
    fn enter(&mut self, peer: IpAddr, now: Instant) -> (u64, CancellationToken) {
        let unknown = self.unknown();
        if unknown.get(&peer).is_some_and(|of| *of >= UNKNOWN_OF_PEER) {
            self.close_one(peer, now);
        } else if unknown.values().sum::<usize>() >= UNKNOWN {
            self.make_room(now);
        }
        let id = self.next;
        self.next += 1;
        let closed = CancellationToken::new();
        let place = Place {
            peer,
            client: None,
            active: false,
            since: now,
            closed: closed.clone(),
        };
        self.places.insert(id, place);
        (id, closed)
    }

    /// Number of unknown connections by peer.
    fn unknown(&self) -> BTreeMap<IpAddr, usize> {
        let mut unknown = BTreeMap::new();
        for place in self.places.values().filter(|place| place.client.is_none()) {
            *unknown.entry(place.peer).or_default() += 1;
        }
        unknown
    }

    /// Closes a connection of the peer that has the most.
    fn make_room(&mut self, now: Instant) {
        let most = self.unknown().into_iter().max_by_key(|(_, of)| *of);
        if let Some((peer, _)) = most {
            self.close_one(peer, now);
        }
    }

    /// Closes an unknown connection of `peer`: one without a complete request before one with, and the oldest first.
    fn close_one(&mut self, peer: IpAddr, now: Instant) {
        let unknown = self.places.iter();
        let unknown = unknown.filter(|(_, place)| place.client.is_none() && place.peer == peer);
        let first = unknown.min_by_key(|(_, place)| {
            let is_young = now.saturating_duration_since(place.since) < GRACE;
            (is_young, place.active, place.since)
        });
        let id = first.map(|(id, _)| *id);
        self.close(id);
    }

    fn admit(&mut self, id: u64, client: &Arc<str>) -> bool {
        let others = || self.places.iter().filter(move |(other, _)| **other != id);
        let known = others().filter(|(_, place)| place.client.is_some());
        let of_client = others().filter(|(_, place)| place.client.as_ref() == Some(client));
        if of_client.clone().count() >= KNOWN_OF_CLIENT {
            let idle = longest_idle(of_client);
            if !self.close(idle) {
                return false;
            }
        } else if known.clone().count() >= KNOWN {
            let idle = longest_idle(known);
            if !self.close(idle) {
                return false;
            }
        }
        if let Some(place) = self.places.get_mut(&id) {
            place.client = Some(Arc::clone(client));
        }
        true
    }

    /// False without an id.
    fn close(&mut self, id: Option<u64>) -> bool {
        let place = id.and_then(|id| self.places.remove(&id));
        place.is_some_and(|place| {
            place.closed.cancel();
            true
        })
    }
}

fn longest_idle<'a>(places: impl Iterator<Item = (&'a u64, &'a Place)>) -> Option<u64> {
    let idle = places.filter(|(_, place)| !place.active);
    let longest = idle.min_by_key(|(_, place)| place.since);
    longest.map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn other(number: usize) -> IpAddr {
        let number = u32::try_from(number).unwrap();
        std::net::Ipv4Addr::from_bits(0x0a01_0000 + number).into()
    }

    fn is_open(seat: &Seat) -> bool {
        !seat.is_closed()
    }

    #[test]
    fn peer_with_too_many_connections_loses_its_oldest() {
        let hall = Hall::default();
        let seats: Vec<_> = (0..1_000).map(|_| hall.enter(ONE)).collect();
        let stranger = hall.enter(other(0));
        assert!(is_open(&stranger));
        let open: Vec<_> = seats.iter().map(is_open).collect();
        assert!(open[..1_000 - UNKNOWN_OF_PEER].iter().all(|open| !open));
        assert!(open[1_000 - UNKNOWN_OF_PEER..].iter().all(|open| *open));
    }

    #[test]
    fn peer_with_one_connection_keeps_it_while_others_have_many() {
        let hall = Hall::default();
        let mine = hall.enter(ONE);
        let _many: Vec<_> = (0..10 * UNKNOWN)
            .map(|number| hall.enter(other(number % 8)))
            .collect();
        assert!(is_open(&mine));
        assert_eq!(hall.table().places.len(), UNKNOWN);
    }

    #[test]
    fn connection_without_a_request_is_closed_before_one_with() {
        let now = Instant::now();
        let mut table = Table::default();
        let ids: Vec<_> = (0..UNKNOWN_OF_PEER)
            .map(|_| table.enter(ONE, now).0)
            .collect();
        table.places.get_mut(&ids[0]).unwrap().active = true;
        let later = now + GRACE;
        let (young, _) = table.enter(ONE, later);
        assert!(table.places.contains_key(&ids[0]));
        assert!(!table.places.contains_key(&ids[1]));
        // Slow readers are closed before a connection that has just begun.
        for id in &ids {
            table
                .places
                .entry(*id)
                .and_modify(|place| place.active = true);
        }
        table.enter(ONE, later);
        assert!(table.places.contains_key(&young));
        assert!(!table.places.contains_key(&ids[0]));
    }

    #[test]
    fn client_has_a_part_of_the_places_and_gives_up_its_idle_ones() {
        let hall = Hall::default();
        let (slow, quick): (Arc<str>, Arc<str>) = ("slow".into(), "quick".into());
        let known = |_| {
            let seat = hall.enter(ONE);
            assert!(seat.admit(&slow));
            seat
        };
        let first: Vec<_> = (0..KNOWN_OF_CLIENT).map(known).collect();
        let mut active: Vec<_> = first.iter().map(Seat::begin).collect();
        assert!(first[0].admit(&slow), "it has its place");
        let last = hall.enter(ONE);
        assert!(!last.admit(&slow));
        assert!(last.admit(&quick));
        let last = hall.enter(ONE);
        active.pop();
        assert!(last.admit(&slow));
        assert!(!is_open(first.last().unwrap()), "it was idle");
    }

    #[test]
    fn known_connections_are_never_closed_for_unknown_ones() {
        let hall = Hall::default();
        let mine = hall.enter(ONE);
        assert!(mine.admit(&"crm".into()));
        let _flood: Vec<_> = (0..1_000).map(|_| hall.enter(ONE)).collect();
        hall.make_room();
        assert!(is_open(&mine));
        drop(mine);
        assert!(
            hall.table()
                .places
                .values()
                .all(|place| place.client.is_none())
        );
    }
}
