//! How much of something one visitor may have, of what there is for all.
//!
//! A visitor is somebody who signed in, a program with a token, or else an address. [`Places`] are taken and given back;
//! [`Turns`] are taken, and come again with time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::proxies::{Proxies, household};
use super::visitor::Visitor;
use crate::people::PersonId;

/// How many visitors are remembered by [`Turns`] before those are forgotten who had theirs.
const REMEMBERED: usize = 10_000;

/// Whose share something is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// Somebody who signed in.
    Person(PersonId),
    /// A program, by the number of its token.
    Program(i64),
    /// Whoever has that address.
    Address(IpAddr),
    /// Nobody knows. They have one share together.
    Unknown,
}

impl Whose {
    /// Tells whose a request is.
    pub(super) fn of(visitor: &Visitor, parts: &Parts, proxies: &Proxies) -> Self {
        match visitor {
            Visitor::Person(person) => Self::Person(person.id),
            Visitor::Program(token) => Self::Program(token.id),
            Visitor::Nobody | Visitor::Local => {
                let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
                let address = peer.map(|peer| proxies.visitor(peer.0.ip(), &parts.headers));
                address.map_or(Self::Unknown, |address| Self::Address(household(address)))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Whose {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self::Unknown))
    }
}

/// Places for all, of which each visitor may have some at a time. Clones share them.
#[derive(Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    share: usize,
    taken: Arc<Mutex<HashMap<Whose, usize>>>,
}

/// A place that somebody has, until this goes.
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    whose: Whose,
    taken: Arc<Mutex<HashMap<Whose, usize>>>,
}

impl Places {
    pub(super) fn new(all: usize, share: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), share, taken: Arc::default() }
    }

    /// Takes a place, if there is one and the visitor has not had their share.
    pub(super) fn take(&self, whose: Whose) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&whose).copied().unwrap_or(0);
        if own >= self.share {
            return None;
        }
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        taken.insert(whose, own + 1);
        Some(Place { _of_all: of_all, whose, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.whose) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(taken.remove(&self.whose)),
        }
    }
}

/// Something that each visitor may do so often in a time. Clones share what they know.
#[derive(Clone)]
pub(super) struct Turns {
    share: u32,
    every: Duration,
    had: Arc<Mutex<HashMap<Whose, (Instant, u32)>>>,
}

impl Turns {
    pub(super) fn new(share: u32, every: Duration) -> Self {
        Self { share, every, had: Arc::default() }
    }

    /// Takes a turn; or returns how long to wait for the next one.
    pub(super) fn take(&self, whose: Whose) -> Result<(), Duration> {
        self.take_at(whose, Instant::now())
    }

    fn take_at(&self, whose: Whose, now: Instant) -> Result<(), Duration> {
        let mut had = self.had.lock().unwrap_or_else(PoisonError::into_inner);
        if had.len() >= REMEMBERED && !had.contains_key(&whose) {
            had.retain(|_, (since, _)| now.duration_since(*since) < self.every);
        }
        // So many at a time are no visitors: they have one share together.
        let is_one_too_many = had.len() >= REMEMBERED && !had.contains_key(&whose);
        let whose = if is_one_too_many { Whose::Unknown } else { whose };
        let (since, count) = had.entry(whose).or_insert((now, 0));
        let passed = now.duration_since(*since);
        if passed >= self.every {
            (*since, *count) = (now, 0);
        }
        if *count >= self.share {
            return Err(self.every.saturating_sub(passed));
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Whose {
        Whose::Address([192, 0, 2, last].into())
    }

    #[test]
    fn nobody_takes_more_than_their_share_and_places_come_back() {
        let places = Places::new(5, 2);
        let own: Vec<Place> = (0..2).map(|_| places.take(address(1)).unwrap()).collect();
        assert!(places.take(address(1)).is_none());
        let others: Vec<Place> = (0..2).map(|_| places.take(address(2)).unwrap()).collect();
        let last = places.take(address(3)).unwrap();
        assert!(places.take(address(4)).is_none(), "there are no more for anybody");
        drop((own, last));
        assert!(places.take(address(4)).is_some());
        assert!(places.take(address(2)).is_none());
        drop(others);
        assert!(places.taken.lock().unwrap().is_empty(), "nobody is remembered");
    }

    #[test]
    fn turns_come_again_and_made_up_visitors_have_one_share_together() {
        let turns = Turns::new(2, Duration::from_secs(60));
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        for _ in 0..2 {
            assert_eq!(turns.take_at(address(1), begun), Ok(()));
        }
        assert_eq!(turns.take_at(address(1), after(20)), Err(Duration::from_secs(40)));
        assert_eq!(turns.take_at(address(2), after(20)), Ok(()));
        assert_eq!(turns.take_at(address(1), after(60)), Ok(()));
        // With the two above.
        for number in 2..REMEMBERED as i64 {
            assert_eq!(turns.take_at(Whose::Program(number), after(61)), Ok(()));
        }
        let next =
            |number: i64| turns.take_at(Whose::Program(REMEMBERED as i64 + number), after(62));
        assert!(next(1).is_ok() && next(2).is_ok() && next(3).is_err());
        assert!(turns.had.lock().unwrap().len() <= REMEMBERED + 1);
    }
}
