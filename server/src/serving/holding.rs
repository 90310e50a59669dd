//! What becomes of a run that a server holds: pure decisions.
//!
//! Time is what has passed since the server started.

use std::time::Duration;

use crate::runs::state::Verdict;
use crate::runs::{Ended, LEASE};
use crate::workshop::Carried;

/// How long to wait before the database is asked or told again that has not answered. A lease is not renewed while the
/// database is told how its run ended, so this is often enough that it does not run out over short outages.
pub const RETRY: Duration = Duration::from_secs(LEASE.as_secs() / 15);

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
    is_answered: bool,
}

impl Holding {
    /// Begins with a claim that was asked for at a time.
    pub fn new(asked_at: Duration) -> Self {
        Self { leased_until: asked_at + LEASE, is_wanted: true, is_answered: true }
    }

    /// Returns whether it is still to be carried out.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Returns whether others believe at a time that it is carried out.
    pub fn is_good(&self, now: Duration) -> bool {
        now < self.leased_until
    }

    /// Returns how long it is until the lease is to be renewed.
    pub fn pause(&self) -> Duration {
        if self.is_answered { LEASE / 3 } else { RETRY }
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
        self.is_answered = renewal != Renewal::Unanswered;
        // By then somebody else may carry it out.
        self.is_wanted &= self.is_good(now);
    }
}

/// Whether the database answers without a break, as far as a server knows.
///
/// Whoever carries out a run renews its lease. So a lease that is over says that its holder is gone only if the holder could
/// have renewed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answering {
    /// When the answers that came without a break began and when the last one was asked for; nothing while nobody answers, and
    /// before it was asked.
    since: Option<(Duration, Duration)>,
}

impl Answering {
    /// How often the database is to be asked.
    pub const PAUSE: Duration = Duration::from_secs(LEASE.as_secs() / 3);

    /// Between two answers that are further apart the database may have been away for so long that no holder could renew its
    /// lease: holders ask when a third of it is over, and then every [`RETRY`].
    const LONGEST_GAP: Duration = Duration::from_secs(LEASE.as_secs() * 2 / 3 - RETRY.as_secs());

    /// Takes note of whether the database answered a question that was asked at a time.
    pub fn note(&mut self, is_answered: bool, asked_at: Duration) {
        let began = self.unbroken(asked_at).unwrap_or(asked_at);
        self.since = is_answered.then_some((began, asked_at));
    }

    /// Returns whether a lease that is over says something about its holder.
    pub fn tells(&self, now: Duration) -> bool {
        self.unbroken(now).is_some_and(|began| now >= began + LEASE)
    }

    /// Returns since when the database has answered without a break.
    fn unbroken(&self, now: Duration) -> Option<Duration> {
        let (began, last) = self.since?;
        (now <= last + Self::LONGEST_GAP).then_some(began)
    }
}

/// What is told about a run that is not carried out any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// How it ended.
    End(Ended),
    /// That others may carry it out.
    GiveBack,
    /// That it is to be tried again later, with the reason.
    PutOff(String),
}

/// Decides what is told about a run; `carried` is what the workshop says, or how it broke.
pub fn told(carried: Result<Carried, String>, is_wanted: bool, is_ending: bool) -> Told {
    match carried {
        Ok(Carried::Ended(ended)) => Told::End(ended),
        Ok(Carried::Stopped | Carried::Hindered { .. }) if is_ending || !is_wanted => {
            Told::GiveBack
        }
        Ok(Carried::Hindered { why }) => Told::PutOff(why),
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
    fn a_lease_is_renewed_sooner_where_nobody_answered() {
        let seconds = Duration::from_secs;
        let mut holding = Holding::new(seconds(0));
        assert_eq!(holding.pause(), seconds(10));
        holding.renew(Renewal::Unanswered, seconds(10), seconds(12));
        assert_eq!(holding.pause(), seconds(2));
        holding.renew(Renewal::Renewed, seconds(14), seconds(14));
        assert_eq!(holding.pause(), seconds(10));
    }

    #[test]
    fn a_lease_that_ended_in_an_outage_says_nothing() {
        let seconds = Duration::from_secs;
        let mut answering = Answering::default();
        assert!(!answering.tells(seconds(1_000)), "it may have been away until now");
        for asked_at in [1_000, 1_010, 1_020] {
            answering.note(true, seconds(asked_at));
        }
        assert!(!answering.tells(seconds(1_029)));
        assert!(answering.tells(seconds(1_030)));
        answering.note(false, seconds(1_030));
        assert!(!answering.tells(seconds(1_031)));
        for asked_at in [1_045, 1_055, 1_065] {
            answering.note(true, seconds(asked_at));
        }
        assert!(!answering.tells(seconds(1_074)));
        assert!(answering.tells(seconds(1_075)));
    }

    #[test]
    fn who_did_not_ask_does_not_know_whether_anybody_would_have_answered() {
        let seconds = Duration::from_secs;
        let mut answering = Answering::default();
        for asked_at in (0..=60).step_by(10) {
            answering.note(true, seconds(asked_at));
        }
        assert!(answering.tells(seconds(60)));
        // A holder that renewed its lease at 61 asks again at 71, and then every 2 seconds: an outage from 70 to 88 costs the lease.
        assert!(answering.tells(seconds(78)) && !answering.tells(seconds(79)));
        for asked_at in [90, 100, 110] {
            answering.note(true, seconds(asked_at));
            assert!(!answering.tells(seconds(asked_at)), "{asked_at}");
        }
        assert!(answering.tells(seconds(120)));
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
            let hindered = told(Ok(Carried::Hindered { why: "gone".into() }), is_wanted, is_ending);
            let expected = if is_given_back { Told::GiveBack } else { Told::PutOff("gone".into()) };
            assert_eq!(hindered, expected, "{is_wanted} {is_ending}");
            let Told::End(broken) = told(Err("why".into()), is_wanted, is_ending) else { panic!() };
            assert_eq!((broken.verdict, broken.summary.as_str()), (Verdict::Errored, "why"));
        }
    }
}
