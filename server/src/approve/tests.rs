//! Who may be built, as a table, as sentences and as random interleavings.

use std::collections::BTreeMap;

use super::*;
use crate::reconcile::{Heads, changes};
use crate::runs::state::{RunEvent, RunState};

fn commit(number: u64) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

#[test]
fn forks_wait_unless_somebody_said_otherwise() {
    use Admission::{AtOnce, Never, OnApproval};
    for (choice, expected) in [
        (PullRequests::None, [AtOnce, Never, Never]),
        (PullRequests::Own, [AtOnce, AtOnce, Never]),
        (PullRequests::Approved, [AtOnce, AtOnce, OnApproval]),
        (PullRequests::All, [AtOnce, AtOnce, AtOnce]),
    ] {
        assert_eq!(Trust::ALL.map(|trust| admission(trust, choice)), expected, "{choice:?}");
    }
    assert_eq!(Trust::named("something new"), Trust::Fork);
}

#[test]
fn only_the_very_head_of_a_fork_can_be_approved() {
    let head = |trust| Head::new(commit(1), trust);
    let decided = |head: Option<Head>, choice, asked| decide(7, head.as_ref(), choice, asked);
    let approved = PullRequests::Approved;
    assert_eq!(decided(Some(head(Trust::Fork)), approved, commit(1)), Ok(()));
    assert_eq!(
        decided(Some(head(Trust::Fork)), approved, commit(2)),
        Err(NotApproved::Moved { number: 7, head: commit(1), asked: commit(2) })
    );
    let none = Err(NotApproved::NoPullRequest { number: 7 });
    assert_eq!(decided(None, approved, commit(1)), none);
    let not_needed = Err(NotApproved::NotNeeded { number: 7 });
    assert_eq!(decided(Some(head(Trust::Own)), approved, commit(1)), not_needed);
    assert_eq!(decided(Some(head(Trust::Fork)), PullRequests::All, commit(1)), not_needed);
    let not_built = Err(NotApproved::NotBuilt { number: 7 });
    assert_eq!(decided(Some(head(Trust::Fork)), PullRequests::Own, commit(1)), not_built);
}

#[test]
fn a_comment_names_a_whole_commit_on_a_line_of_its_own() {
    let whole = "a".repeat(40);
    let approve = Some(Command::Approve(whole.parse().unwrap()));
    for text in [
        format!("/levain approve {whole}"),
        format!("Looks good.\r\n\r\n/levain approve {whole} \r\nThanks!"),
        format!("/levain approve {}", whole.to_uppercase()),
        format!("> Is that all?\n\n/levain approve {whole}"),
        format!("```sh\nnix build\n```\n/levain approve {whole}"),
        format!("~~~\n```\n~~~~\n/levain approve {whole}"),
        format!("```x``` is code\n/levain approve {whole}"),
        format!("<!-- from\na template -->\n/levain approve {whole}"),
        format!("<!-- a --> b\n/levain approve {whole}"),
    ] {
        assert_eq!(command(&text), approve, "{text}");
    }
    for text in [
        "/levain approve ".to_owned(),
        format!("/levain approve {}", &whole[..12]),
        format!("/levain approve {whole}a"),
        format!("/levain approve {whole} and more"),
        format!("/levain approve {whole}\u{200b}"),
        "/levain approve HEAD".to_owned(),
    ] {
        assert_eq!(command(&text), Some(Command::Unclear), "{text}");
    }
    for text in [
        String::new(),
        "/levain".to_owned(),
        format!("> /levain approve {whole}"),
        format!(" /levain approve {whole}"),
        format!("please /levain approve {whole}"),
        format!("/LEVAIN APPROVE {whole}"),
        format!("/levain approved {whole}"),
        format!("/levain  approve {whole}"),
        format!("Say\n```\n/levain approve {whole}\n```"),
        format!("  ~~~~ text\n~~~\n/levain approve {whole}"),
        format!("```\n~~~\n``` x\n/levain approve {whole}"),
        format!("> Ann wrote\n/levain approve {whole}"),
        format!("<!--\n/levain approve {whole}\n-->"),
        format!("a <!-- b --> c <!-- d\n/levain approve {whole}"),
    ] {
        assert_eq!(command(&text), None, "{text}");
    }
}

/// A pull request of a fork, and servers that each know it as it was when they looked last.
///
/// What the database does is done here with the same decisions; `tests/it/approvals.rs` does it with databases.
struct World {
    random: fastrand::Rng,
    now: Timestamp,
    /// What the forge has; nothing while it is closed.
    forge: Option<CommitId>,
    next_commit: u64,
    /// What each server listed and did not note yet, and what it knew before.
    listed: Vec<Option<(u64, Option<CommitId>)>>,
    noted: u64,
    head: Option<CommitId>,
    approvals: Vec<Approval>,
    runs: Vec<(CommitId, RunState)>,
    /// What people approved, and may be built until then: kept apart from all of the above.
    allowed: BTreeMap<CommitId, Timestamp>,
    begun: usize,
    refused: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            now: Timestamp::from_millis(1_000),
            forge: Some(commit(1)),
            next_commit: 2,
            listed: vec![None; 3],
            noted: 0,
            head: None,
            approvals: Vec::new(),
            runs: Vec::new(),
            allowed: BTreeMap::new(),
            begun: 0,
            refused: 0,
        }
    }

    fn heads(head: Option<CommitId>) -> Heads {
        head.map(|commit| ("pull/7".parse().unwrap(), Head::new(commit, Trust::Fork)))
            .into_iter()
            .collect()
    }

    fn step(&mut self) {
        let server = self.random.usize(..self.listed.len());
        match self.random.u32(..12) {
            0 => self.push(),
            1 => self.forge = None,
            2 => self.now = self.now.after(APPROVAL / 3),
            3..=4 => self.listed[server] = Some((self.noted, self.forge)),
            5..=6 => self.note(server),
            7..=8 => self.approve(),
            9..=10 => self.claim(),
            _ => self.lose(),
        }
    }

    /// Pushes something new, or something that was there before.
    fn push(&mut self) {
        let number = match self.random.bool() {
            true => self.random.u64(1..self.next_commit),
            false => {
                self.next_commit += 1;
                self.next_commit - 1
            }
        };
        self.forge = Some(commit(number));
    }

    fn note(&mut self, server: usize) {
        let Some((last, head)) = self.listed[server].take() else { return };
        if last != self.noted {
            return;
        }
        self.noted += 1;
        let changes = changes(&Self::heads(self.head), &Self::heads(head));
        if changes == Default::default() {
            return;
        }
        self.allowed.clear();
        for approval in &mut self.approvals {
            approval.voided_at.get_or_insert(self.now);
        }
        for (_, state) in &mut self.runs {
            *state = state.after(RunEvent::Superseded);
        }
        self.head = head;
        for head in changes.moved.into_values() {
            self.runs.push((head.commit, RunState::Queued.after(RunEvent::Unapproved)));
        }
    }

    /// Somebody approves what they see at the forge, or saw before.
    fn approve(&mut self) {
        let asked = match self.random.bool() {
            true => self.forge.unwrap_or(commit(1)),
            false => commit(self.random.u64(1..self.next_commit)),
        };
        let head = self.head.map(|commit| Head::new(commit, Trust::Fork));
        if decide(7, head.as_ref(), PullRequests::Approved, asked).is_err() {
            self.refused += 1;
            return;
        }
        let expires_at = self.now.after(APPROVAL);
        self.allowed.insert(asked, expires_at);
        self.approvals.push(Approval {
            pull_request: 7,
            commit: asked,
            approver: Approver { way: Way::Command, name: String::new() },
            approved_at: self.now,
            expires_at,
            voided_at: None,
        });
        for (of, state) in &mut self.runs {
            if *of == asked {
                *state = state.after(RunEvent::Approved);
            }
        }
    }

    fn is_covered(&self, commit: CommitId) -> bool {
        self.approvals.iter().any(|approval| approval.covers(7, commit, self.now))
    }

    fn claim(&mut self) {
        for index in 0..self.runs.len() {
            let (commit, state) = self.runs[index];
            if state == RunState::Queued && !self.is_covered(commit) {
                self.runs[index].1 = state.after(RunEvent::Unapproved);
                continue;
            }
            let after = state.after(RunEvent::Claimed);
            self.runs[index].1 = after;
            if state != RunState::Running && after == RunState::Running {
                self.begun += 1;
                let until = self.allowed.get(&commit);
                assert!(until.is_some_and(|until| self.now < *until), "{commit} runs unapproved");
            }
        }
    }

    /// A server is not heard of any more.
    fn lose(&mut self) {
        for (_, state) in &mut self.runs {
            *state = state.after(RunEvent::Lost { attempts: 1 });
        }
    }
}

#[test]
fn no_interleaving_builds_what_nobody_approved() {
    let (mut begun, mut refused) = (0, 0);
    for seed in 0..10_000 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.step();
        }
        begun += world.begun;
        refused += world.refused;
    }
    // Else nothing was tried.
    assert!(begun > 5_000 && refused > 5_000, "{begun} runs, {refused} approvals refused");
}
