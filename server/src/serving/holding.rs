//! What becomes of a run that a server holds: pure decisions.
//!
//! Time is what has passed since the server started.

use std::time::Duration;

use crate::runs::state::Verdict;
use crate::runs::{Ended, LEASE};
use crate::workshop::Carried;

/// What the database says about a lease that is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is renewed.
    Renewed,
    /// The run is not this server's any more.
    Refused,
    /// It does not say.
    Unanswered,
}

/// A run that a server holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Until when others believe that it is carried out.
    leased_until: Duration,
    is_wanted: bool,
}

impl Holding {
    /// Begins with a claim that was asked for at a time.
    pub fn new(asked_at: Duration) -> Self {
        Self { leased_until: asked_at + LEASE, is_wanted: true }
    }

    /// Returns whether it is still to be carried out.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Returns whether others believe at a time that it is carried out.
    pub fn is_good(&self, now: Duration) -> bool {
        now < self.leased_until
    }

    /// Takes note of what was said about a renewal that was asked for at a time, and said now.
    ///
    /// The lease counts from the question: when the answer comes, some of it is over.
    pub fn renew(&mut self, renewal: Renewal, asked_at: Duration, now: Duration) {
        match renewal {
            Renewal::Renewed => self.leased_until = asked_at + LEASE,
            Renewal::Refused => self.is_wanted = false,
            Renewal::Unanswered => {}
        }
        // By then somebody else may carry it out.
        self.is_wanted &= self.is_good(now);
    }
}

/// What is told about a run that is not carried out any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// How it ended.
    End(Ended),
    /// That others may carry it out.
    GiveBack,
}

/// Decides what is told about a run; `carried` is what the workshop says, or how it broke.
pub fn told(carried: Result<Carried, String>, is_wanted: bool, is_ending: bool) -> Told {
    match carried {
        Ok(Carried::Ended(ended)) => Told::End(ended),
        Ok(Carried::Stopped) if is_ending || !is_wanted => Told::GiveBack,
        Ok(Carried::Stopped) => Told::End(Ended::new(Verdict::Errored, "stopped")),
        Err(broken) => Told::End(Ended::new(Verdict::Errored, broken)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_question() {
        let seconds = Duration::from_secs;
        let mut holding = Holding::new(seconds(0));
        holding.renew(Renewal::Renewed, seconds(10), seconds(25));
        assert!(holding.is_wanted());
        holding.renew(Renewal::Unanswered, seconds(26), seconds(39));
        assert!(holding.is_wanted());
        holding.renew(Renewal::Unanswered, seconds(39), seconds(40));
        assert!(!holding.is_wanted(), "another server may have begun it");
        let mut holding = Holding::new(seconds(0));
        holding.renew(Renewal::Renewed, seconds(1), seconds(31));
        assert!(!holding.is_wanted(), "the answer came too late");
        let mut holding = Holding::new(seconds(0));
        holding.renew(Renewal::Refused, seconds(1), seconds(1));
        holding.renew(Renewal::Renewed, seconds(2), seconds(2));
        assert!(!holding.is_wanted(), "what was refused stays refused");
    }

    #[test]
    fn what_was_stopped_on_purpose_is_given_back() {
        let ended = Ended::new(Verdict::Failed, "1 failed");
        for (is_wanted, is_ending) in [(true, false), (false, false), (true, true), (false, true)] {
            let carried = Ok(Carried::Ended(ended.clone()));
            assert_eq!(told(carried, is_wanted, is_ending), Told::End(ended.clone()));
            let stopped = told(Ok(Carried::Stopped), is_wanted, is_ending);
            let is_given_back = stopped == Told::GiveBack;
            assert_eq!(is_given_back, is_ending || !is_wanted, "{is_wanted} {is_ending}");
            let Told::End(broken) = told(Err("why".into()), is_wanted, is_ending) else { panic!() };
            assert_eq!((broken.verdict, broken.summary.as_str()), (Verdict::Errored, "why"));
        }
    }
}
