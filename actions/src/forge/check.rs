//! Check runs: what a forge shows of a status that an App reports, with more than a line.
//!
//! A check run is made once and updated until it ends; what is said after that is a new one of the same name, because not
//! every forge lets an ended one begin again. Start at [`standing`] for what is to be done about one.

use reqwest::{Method, Url};
use serde_json::Value;

use super::{Endpoint, StatusRequest};
use crate::status::Status;

/// How a forge shows what Apps report.
pub(super) struct Checks {
    /// Where one is made. The method is POST.
    pub(super) make: fn(&Endpoint) -> Url,
    /// Where one is updated. The method is PATCH.
    pub(super) update: fn(&Endpoint, u64) -> Url,
    /// What is sent; a new one also says what it is about.
    pub(super) body: fn(&Check, is_new: bool) -> Value,
    /// Where those are listed that an App made on a commit under a name, the newest first.
    pub(super) list: fn(&Endpoint, &Status, app: u64) -> Url,
    /// How many are listed at most.
    pub(super) page_size: usize,
    /// Reads the list.
    pub(super) read: fn(&[u8]) -> Result<Vec<ShownCheck>, serde_json::Error>,
}

/// A status as a check run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is said.
    pub status: Status,
    /// What says so: the forge keeps it, and it is not the same for two runs.
    pub run: String,
    /// The forge's number of the check run that is to be updated, if one is still open.
    pub open: Option<u64>,
}

/// A check run, as a forge lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCheck {
    /// The forge's number for it: later ones have higher numbers.
    pub id: u64,
    /// What said so.
    pub run: String,
    /// The forge's words for its state.
    pub state: (String, Option<String>),
    /// Its line.
    pub title: String,
    /// Whether it ended.
    pub has_ended: bool,
}

/// What a forge shows of a check that nobody knows whether it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Just this.
    Shown {
        /// The forge's number for it.
        id: u64,
    },
    /// Something else, which can be updated.
    Open {
        /// The forge's number for it.
        id: u64,
    },
    /// Nothing, or something that ended.
    Missing,
}

/// Decides where a check stands, by those that are listed.
pub(crate) fn standing(list: &[ShownCheck], check: &Check, body: &Value) -> Standing {
    let of_run = list.iter().filter(|shown| shown.run == check.run);
    let Some(newest) = of_run.max_by_key(|shown| shown.id) else { return Standing::Missing };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let state = (text(&body["status"]).unwrap_or_default(), text(&body["conclusion"]));
    let title = text(&body["output"]["title"]).unwrap_or_default();
    match newest {
        shown if shown.state == state && shown.title.trim() == title.trim() => {
            Standing::Shown { id: shown.id }
        }
        shown if shown.has_ended => Standing::Missing,
        shown => Standing::Open { id: shown.id },
    }
}

/// Returns the request that says it; nothing if the forge has no check runs.
pub(crate) fn check_request(endpoint: &Endpoint, check: &Check) -> Option<StatusRequest> {
    let checks = endpoint.kind.record().checks?;
    let body = (checks.body)(check, check.open.is_none());
    Some(match check.open {
        Some(id) => {
            StatusRequest { method: Method::PATCH, url: (checks.update)(endpoint, id), body }
        }
        None => StatusRequest { method: Method::POST, url: (checks.make)(endpoint), body },
    })
}

/// Returns where the checks of a name are listed, and how many at most; nothing if the forge has no check runs.
pub(crate) fn checks_url(
    endpoint: &Endpoint,
    status: &Status,
    app: u64,
    page: u32,
) -> Option<(Url, usize)> {
    let checks = endpoint.kind.record().checks?;
    let url = (checks.list)(endpoint, status, app);
    Some((super::pull_request::asking(url, &[("page", &page.to_string())]), checks.page_size))
}

/// Reads a list of checks.
pub(crate) fn read_checks(
    endpoint: &Endpoint,
    body: &[u8],
) -> Result<Vec<ShownCheck>, serde_json::Error> {
    match endpoint.kind.record().checks {
        Some(checks) => (checks.read)(body),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::status::State;

    fn shown(
        id: u64,
        run: &str,
        status: &str,
        conclusion: Option<&str>,
        title: &str,
    ) -> ShownCheck {
        let state = (status.to_owned(), conclusion.map(str::to_owned));
        let has_ended = status == "completed";
        ShownCheck { id, run: run.to_owned(), state, title: title.to_owned(), has_ended }
    }

    #[test]
    fn what_is_in_doubt_is_found_by_its_run_or_said_again() {
        let status = Status::new(&"a".repeat(40), "levain", State::Success, "all is well").unwrap();
        let check = Check { status, run: "7".to_owned(), open: None };
        let body = json!({
            "status": "completed", "conclusion": "success", "output": { "title": "all is well" },
        });
        let stands = |list: &[ShownCheck]| standing(list, &check, &body);
        assert_eq!(stands(&[]), Standing::Missing);
        let good = |id, run| shown(id, run, "completed", Some("success"), "all is well ");
        assert_eq!(stands(&[good(1, "7")]), Standing::Shown { id: 1 });
        // Another run's says nothing, whatever it says.
        assert_eq!(stands(&[good(9, "8"), good(8, "77")]), Standing::Missing);
        let open = shown(2, "7", "in_progress", None, "building");
        assert_eq!(stands(&[good(1, "8"), open.clone()]), Standing::Open { id: 2 });
        // Only the newest of the run counts.
        assert_eq!(stands(&[open.clone(), good(1, "7")]), Standing::Open { id: 2 });
        assert_eq!(stands(&[good(3, "7"), open]), Standing::Shown { id: 3 });
        let asked = shown(4, "7", "completed", Some("action_required"), "waiting for approval");
        assert_eq!(stands(&[good(3, "7"), asked]), Standing::Missing);
        let other_words = shown(5, "7", "completed", Some("success"), "something else");
        assert_eq!(stands(&[other_words]), Standing::Missing);
    }
}
