//! What a forge shows about one commit, as far as levain has told it: nothing is told twice.
//!
//! Kept from run to run by the caller. Where it is lost, statuses are sent once more, which is
//! harmless. Start at [`Posted::is_news`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::contexts::folded;
use super::{State, Status};

/// The statuses of one commit at one forge, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    shown: BTreeMap<String, Shown>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    context: String,
    state: State,
    description: String,
    target_url: Option<String>,
}

/// How much a status has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something was done, or failed.
    Work,
    /// Nothing was done yet, or nothing had to be: not worth telling where the same result is shown.
    Routine,
}

impl Posted {
    /// Returns whether the forge would show something new after this status.
    pub fn is_news(&self, status: &Status, weight: Weight) -> bool {
        let Some(shown) = self.shown.get(&folded(status.context())) else { return true };
        let same_state = shown.state == status.state() && shown.context == status.context();
        let same_text = shown.description == status.description()
            && shown.target_url.as_deref() == status.target_url();
        match weight {
            _ if same_state && same_text => false,
            Weight::Work => true,
            // A result is not taken back only because levain looks again.
            Weight::Routine if !status.state().is_final() => !shown.state.is_final(),
            Weight::Routine => !same_state,
        }
    }

    /// Notes that a status is under way: until it is delivered, nobody knows what the forge shows.
    pub fn sending(&mut self, status: &Status) {
        self.shown.remove(&folded(status.context()));
    }

    /// Notes that the forge shows a status.
    pub fn delivered(&mut self, status: &Status) {
        let shown = Shown {
            context: status.context().to_owned(),
            state: status.state(),
            description: status.description().to_owned(),
            target_url: status.target_url().map(str::to_owned),
        };
        self.shown.insert(folded(status.context()), shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(context: &str, state: State, text: &str) -> Status {
        Status::new(&"a".repeat(40), context, state, text).unwrap()
    }

    fn showing(state: State, text: &str) -> Posted {
        let mut posted = Posted::default();
        posted.delivered(&status("levain/app", state, text));
        posted
    }

    #[test]
    fn what_is_shown_already_is_no_news() {
        let posted = showing(State::Failure, "build failed");
        for weight in [Weight::Work, Weight::Routine] {
            assert!(!posted.is_news(&status("levain/app", State::Failure, "build failed"), weight));
            assert!(
                posted.is_news(&status("levain/other", State::Failure, "build failed"), weight)
            );
            assert!(posted.is_news(&status("levain/app", State::Success, "built"), weight));
        }
        assert!(posted.is_news(&status("levain/app", State::Failure, "in 2 s"), Weight::Work));
        assert!(posted.is_news(&status("levain/app", State::Pending, "waiting"), Weight::Work));
    }

    #[test]
    fn routine_takes_no_result_back_and_repeats_none() {
        let posted = showing(State::Success, "built in 3 s");
        assert!(
            !posted.is_news(&status("levain/app", State::Pending, "evaluating"), Weight::Routine)
        );
        assert!(
            !posted.is_news(&status("levain/app", State::Success, "unchanged"), Weight::Routine)
        );
        let posted = showing(State::Pending, "waiting");
        assert!(
            posted.is_news(&status("levain/app", State::Pending, "evaluating"), Weight::Routine)
        );
    }

    #[test]
    fn what_was_not_delivered_is_sent_again() {
        let mut posted = showing(State::Success, "built");
        let again = status("levain/app", State::Success, "built");
        posted.sending(&again);
        assert!(posted.is_news(&again, Weight::Routine));
        posted.delivered(&again);
        assert!(!posted.is_news(&again, Weight::Routine));
        let text = serde_json::to_string(&posted).unwrap();
        assert_eq!(serde_json::from_str::<Posted>(&text).unwrap(), posted);
    }
}
