//! The tables in memory, and what the database does to them: what simulations work on.
//!
//! `agreement.rs` shows that real databases do the same.

use std::collections::BTreeMap;
use std::time::Duration;

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use levain_server::deliveries::DeliveryState;
use levain_server::projects::ProjectId;
use levain_server::reconcile::{Head, Heads, changes, left};
use levain_server::runs::putting_off::wait;
use levain_server::runs::state::{MOST_ATTEMPTS, RunEvent, RunState, Verdict};
use levain_server::runs::{LEASE, RunId};
use levain_server::statuses::precedence::{At, Word, word};

/// The default branch of every project.
pub(crate) const DEFAULT_BRANCH: &str = "main";
/// A branch that is called like a merge queue's.
pub(crate) const QUEUE: &str = "heads/trying";

/// Milliseconds.
pub(crate) type Millis = i64;

pub(crate) fn lease() -> Millis {
    Millis::try_from(LEASE.as_millis()).unwrap()
}

/// Returns what runs are called where it is decided who has the word.
fn run_id(index: usize) -> RunId {
    RunId::from_number(i64::try_from(index).unwrap())
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) project: ProjectId,
    pub(crate) key: u64,
    pub(crate) body: u64,
    pub(crate) received_at: Millis,
    pub(crate) state: DeliveryState,
    pub(crate) repeats: u64,
    pub(crate) conflicts: u64,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) project: ProjectId,
    pub(crate) jobset: JobsetName,
    pub(crate) commit: CommitId,
    /// What it is merged with, and the commit of that since it was begun first.
    pub(crate) base: Option<String>,
    pub(crate) base_commit: Option<CommitId>,
    pub(crate) state: RunState,
    pub(crate) rank: u8,
    pub(crate) attempts: u32,
    /// Who carries it out, and until when that is believed.
    pub(crate) held: Option<(u64, Millis)>,
    /// Who was not heard of in time, and not since.
    pub(crate) lost_by: Vec<u64>,
    /// How often something was away that it cannot do without, and until when it waits for that.
    pub(crate) put_off: u32,
    pub(crate) put_off_until: Option<Millis>,
}

/// What keeping a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    New(usize),
    Again(usize),
    Conflict(usize),
}

/// What taking note of heads came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) queued: Vec<usize>,
    pub(crate) stopped: Vec<usize>,
    pub(crate) gone: Vec<JobsetName>,
}

/// All tables. Runs and deliveries are known by the order in which they came.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) noted: BTreeMap<ProjectId, u64>,
    pub(crate) heads: BTreeMap<ProjectId, Heads>,
    /// Nothing where one was forgotten.
    pub(crate) deliveries: Vec<Option<Delivery>>,
    pub(crate) runs: Vec<Run>,
    /// What is told of each commit as a whole: the run that said so last, and where that stood. Only as long as something
    /// that counts is there.
    pub(crate) told: BTreeMap<(ProjectId, CommitId), (usize, RunState)>,
    /// Those of the runs that are not over.
    live: Vec<usize>,
}

impl Model {
    pub(crate) fn keep(&mut self, project: ProjectId, key: u64, body: u64, now: Millis) -> Kept {
        let is_same = |delivery: &Delivery| delivery.project == project && delivery.key == key;
        let found = self.deliveries.iter().position(|kept| kept.as_ref().is_some_and(is_same));
        if let Some(index) = found
            && let Some(delivery) = &mut self.deliveries[index]
        {
            if delivery.body == body {
                delivery.repeats += 1;
                return Kept::Again(index);
            }
            delivery.conflicts += 1;
            return Kept::Conflict(index);
        }
        let state = DeliveryState::Waiting;
        let new =
            Delivery { project, key, body, received_at: now, state, repeats: 0, conflicts: 0 };
        self.deliveries.push(Some(new));
        Kept::New(self.deliveries.len() - 1)
    }

    /// Returns the deliveries of a project that wait.
    pub(crate) fn waiting(&self, project: ProjectId) -> Vec<usize> {
        let waits = |kept: &Option<Delivery>| {
            kept.as_ref().is_some_and(|delivery| {
                delivery.project == project && delivery.state == DeliveryState::Waiting
            })
        };
        (0..self.deliveries.len()).filter(|index| waits(&self.deliveries[*index])).collect()
    }

    pub(crate) fn settle(&mut self, settled: &[(usize, DeliveryState)]) -> u64 {
        let mut count = 0;
        for (index, state) in settled {
            if let Some(Some(delivery)) = self.deliveries.get_mut(*index)
                && delivery.state == DeliveryState::Waiting
            {
                delivery.state = *state;
                count += 1;
            }
        }
        count
    }

    pub(crate) fn replay(&mut self, index: usize) -> bool {
        match self.deliveries.get_mut(index) {
            Some(Some(delivery)) => {
                delivery.state = DeliveryState::Waiting;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn forget(&mut self, before: Millis) -> u64 {
        let mut count = 0;
        let newest = self.deliveries.len().saturating_sub(1);
        for kept in &mut self.deliveries[..newest] {
            let is_old = |delivery: &Delivery| {
                delivery.received_at < before && delivery.state != DeliveryState::Waiting
            };
            if kept.as_ref().is_some_and(is_old) {
                *kept = None;
                count += 1;
            }
        }
        count
    }

    pub(crate) fn last_note(&self, project: ProjectId) -> u64 {
        self.noted.get(&project).copied().unwrap_or_default()
    }

    pub(crate) fn note_heads(
        &mut self,
        project: ProjectId,
        last: u64,
        now: Heads,
    ) -> Option<Noted> {
        let count = self.noted.entry(project).or_default();
        if *count != last {
            return None;
        }
        *count += 1;
        let before = self.heads.insert(project, now.clone()).unwrap_or_default();
        let (changes, left) = (changes(&before, &now), left(&before, &now));
        let mut noted = Noted::default();
        for (jobset, head) in changes.moved {
            noted.stopped.extend(self.end_all(project, &jobset));
            noted.queued.push(self.queue(project, jobset, head, false));
        }
        for jobset in changes.gone.into_keys() {
            noted.stopped.extend(self.end_all(project, &jobset));
            noted.gone.push(jobset);
        }
        for commit in left {
            self.tell(project, commit);
        }
        Some(noted)
    }

    fn queue(&mut self, project: ProjectId, jobset: JobsetName, head: Head, asked: bool) -> usize {
        let is_waited_for = jobset.as_str().starts_with("pull/") || jobset.as_str() == QUEUE;
        let rank = match (asked, is_waited_for) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        let Head { commit, base, .. } = head;
        self.runs.push(Run {
            project,
            jobset,
            commit,
            base,
            base_commit: None,
            state: RunState::Queued,
            rank,
            attempts: 0,
            held: None,
            lost_by: Vec::new(),
            put_off: 0,
            put_off_until: None,
        });
        self.live.push(self.runs.len() - 1);
        self.tell(project, commit);
        self.runs.len() - 1
    }

    /// Returns who has the word at a commit.
    pub(crate) fn word(&self, project: ProjectId, commit: CommitId) -> Word {
        let heads = self.heads.get(&project).into_iter().flatten();
        let at = heads.filter(|(_, head)| head.commit == commit).map(|(jobset, head)| {
            let newest = self.newest(project, jobset, commit);
            let newest = newest.map(|index| (run_id(index), self.runs[index].state));
            At::new(jobset, head.trust, head.base.as_deref(), Some(DEFAULT_BRANCH), newest)
        });
        word(&at.collect::<Vec<_>>())
    }

    /// Returns the newest run of a head.
    pub(crate) fn newest(
        &self,
        project: ProjectId,
        jobset: &JobsetName,
        commit: CommitId,
    ) -> Option<usize> {
        self.runs.iter().rposition(|run| {
            run.project == project && run.jobset == *jobset && run.commit == commit
        })
    }

    /// Has whoever has the word at a commit say where it stands, if what is told is not that.
    fn tell(&mut self, project: ProjectId, commit: CommitId) {
        let word = self.word(project, commit);
        let (true, Some(run)) = (word.counts, word.run) else {
            self.told.remove(&(project, commit));
            return;
        };
        let index = usize::try_from(run.number()).unwrap();
        self.told.insert((project, commit), (index, self.runs[index].state));
    }

    /// Ends what is under way of a jobset; returns what somebody carried out.
    fn end_all(&mut self, project: ProjectId, jobset: &JobsetName) -> Vec<usize> {
        let of_jobset = |index: &usize| {
            let run = &self.runs[*index];
            run.project == project && run.jobset == *jobset
        };
        let found: Vec<usize> = self.live.iter().copied().filter(of_jobset).collect();
        let was_running = |index: &usize| self.runs[*index].state == RunState::Running;
        let stopped = found.iter().copied().filter(was_running).collect();
        found.into_iter().for_each(|index| {
            self.happen(index, RunEvent::Superseded);
        });
        stopped
    }

    /// Lets something happen to a run; returns whether that changed it.
    fn happen(&mut self, index: usize, event: RunEvent) -> bool {
        let run = &mut self.runs[index];
        let after = run.state.after(event);
        let is_changed = run.state != after;
        run.state = after;
        // Whoever is told that it is over lets go of it by itself.
        let is_stopped = matches!(event, RunEvent::Superseded | RunEvent::Cancelled);
        if run.state != RunState::Running && !is_stopped {
            run.held = None;
        }
        let (project, commit) = (run.project, run.commit);
        if run.state.is_end() {
            self.live.retain(|live| *live != index);
        }
        // What is begun once more is not told to wait.
        let is_told = match event {
            RunEvent::GivenBack => false,
            RunEvent::Lost { .. } => after.is_end(),
            RunEvent::Approved
            | RunEvent::Unapproved
            | RunEvent::Claimed
            | RunEvent::Ended(_)
            | RunEvent::PutOff { .. }
            | RunEvent::Cancelled
            | RunEvent::Superseded => is_changed,
        };
        if is_told {
            self.tell(project, commit);
        }
        is_changed
    }

    pub(crate) fn run_again(&mut self, project: ProjectId, jobset: &JobsetName) -> Option<usize> {
        let head = self.heads.get(&project)?.get(jobset)?.clone();
        let of_jobset = |index: &&usize| {
            let run = &self.runs[**index];
            run.project == project && run.jobset == *jobset
        };
        if let Some(index) = self.live.iter().filter(of_jobset).max() {
            let run = &mut self.runs[*index];
            if run.state == RunState::Queued && run.put_off_until.is_some() {
                (run.put_off, run.put_off_until, run.rank) = (0, None, 0);
            }
            return Some(*index);
        }
        Some(self.queue(project, jobset.clone(), head, true))
    }

    pub(crate) fn cancel(&mut self, index: usize) -> bool {
        self.happen(index, RunEvent::Cancelled)
    }

    pub(crate) fn claim(
        &mut self,
        owner: u64,
        now: Millis,
        busy: &[(ProjectId, JobsetName)],
    ) -> Option<usize> {
        let place = |run: &Run| (run.project, run.jobset.clone());
        let is_held = |wanted: &(ProjectId, JobsetName)| {
            self.runs.iter().any(|run| run.held.is_some() && place(run) == *wanted)
        };
        let is_free = |index: &&usize| {
            let run = &self.runs[**index];
            let place = place(run);
            let is_due = run.put_off_until.is_none_or(|until| until <= now);
            run.state == RunState::Queued && is_due && !busy.contains(&place) && !is_held(&place)
        };
        let next =
            self.live.iter().filter(is_free).min_by_key(|index| (self.runs[**index].rank, **index));
        let index = *next?;
        self.happen(index, RunEvent::Claimed);
        let run = &mut self.runs[index];
        match run.lost_by.contains(&owner) {
            true => run.lost_by.retain(|lost_by| *lost_by != owner),
            false => run.attempts += 1,
        }
        run.held = Some((owner, now + lease()));
        run.put_off_until = None;
        // Whoever goes on with it merges the same.
        if let (Some(base), None) = (&run.base, run.base_commit) {
            let heads = self.heads.get(&run.project);
            let head = heads.and_then(|heads| heads.get(&JobsetName::branch(base)));
            run.base_commit = head.map(|head| head.commit);
        }
        Some(index)
    }

    /// Returns whether a run is somebody's.
    fn is_held(&self, index: usize, owner: u64) -> bool {
        self.runs[index].held.is_some_and(|(holder, _)| holder == owner)
    }

    /// Returns whether somebody is to carry out a run.
    fn is_wanted(&self, index: usize, owner: u64) -> bool {
        self.is_held(index, owner) && self.runs[index].state == RunState::Running
    }

    pub(crate) fn renew(&mut self, index: usize, owner: u64, now: Millis) -> bool {
        let is_wanted = self.is_wanted(index, owner);
        if is_wanted {
            self.runs[index].held = Some((owner, now + lease()));
        }
        is_wanted
    }

    pub(crate) fn end(&mut self, index: usize, owner: u64, verdict: Verdict) -> bool {
        let counts = self.is_wanted(index, owner) && self.happen(index, RunEvent::Ended(verdict));
        if !counts {
            self.let_go(index, owner);
        }
        counts
    }

    /// Returns what becomes of a run that is put off; nothing if it was not to be carried out any more.
    pub(crate) fn put_off(
        &mut self,
        index: usize,
        owner: u64,
        waits: &[Duration],
        now: Millis,
    ) -> Option<RunState> {
        if !self.is_wanted(index, owner) {
            self.let_go(index, owner);
            return None;
        }
        let run = &mut self.runs[index];
        let wait = wait(waits, run.put_off);
        run.put_off += 1;
        run.put_off_until = wait.map(|wait| now + Millis::try_from(wait.as_millis()).unwrap());
        run.attempts -= u32::from(wait.is_some());
        self.happen(index, RunEvent::PutOff { again: wait.is_some() });
        Some(self.runs[index].state)
    }

    pub(crate) fn give_back(&mut self, index: usize, owner: u64) -> bool {
        let is_wanted = self.is_wanted(index, owner);
        if is_wanted {
            self.runs[index].attempts -= 1;
            self.happen(index, RunEvent::GivenBack);
        } else {
            self.let_go(index, owner);
        }
        is_wanted
    }

    fn let_go(&mut self, index: usize, owner: u64) {
        let is_held = self.is_held(index, owner);
        let run = &mut self.runs[index];
        if !run.state.is_end() && run.lost_by.contains(&owner) {
            run.lost_by.retain(|lost_by| *lost_by != owner);
            run.attempts -= 1;
        }
        if is_held && run.state != RunState::Running {
            run.held = None;
        }
    }

    pub(crate) fn take_lost(&mut self, now: Millis) -> Vec<usize> {
        let mut lost = Vec::new();
        for index in 0..self.runs.len() {
            let run = &mut self.runs[index];
            if run.held.is_none_or(|(_, until)| until >= now) {
                continue;
            }
            let attempts = run.attempts;
            let is_end = run.state == RunState::Running && attempts >= MOST_ATTEMPTS;
            if is_end && run.held.is_some_and(|(_, until)| until >= now - lease()) {
                continue;
            }
            let owner = run.held.take().map(|(owner, _)| owner);
            if run.state == RunState::Running {
                run.lost_by.extend(owner);
            }
            if self.happen(index, RunEvent::Lost { attempts }) {
                lost.push(index);
            }
        }
        lost
    }
}
