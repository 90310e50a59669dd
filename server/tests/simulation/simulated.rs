//! The virtual world: a forge, a database and servers, under one seed and one clock.
//!
//! Everything that takes time is an event, and what happens to the database in one transaction is one event. So a kill,
//! which is an event of its own, comes between any two of them. The decisions are the server's own; what is here is
//! the order in which its loops ask for them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use levain_server::deliveries::DeliveryState;
use levain_server::projects::ProjectId;
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::state::{MOST_ATTEMPTS, RunState, Verdict};
use levain_server::runs::{Ended, RunId};
use levain_server::serving::Settings;
use levain_server::serving::holding::{Answering, Holding, Renewal, Told, told};
use levain_server::serving::standing::Look;
use levain_server::workshop::Carried;

use crate::forge::{Origin, Parcel, number_of};
use crate::model::{DEFAULT_BRANCH, Kept, Millis, Model, QUEUE, lease};
use crate::serving::{Held, Looking, Server, Step, millis, retry};

/// For how long things happen.
const CHAOS: Millis = 240_000;
/// By then everything is done.
const LIMIT: Millis = CHAOS + 1_800_000;
/// How long anything may wait for nothing.
const STUCK: Millis = 60_000;
/// How often is looked for what is stuck.
const WATCH: Millis = 2_000;
/// How far clocks are apart.
const SKEW: Millis = 3_000;
/// How many projects are looked at at a time.
const MOST_LOOKS: usize = 4;
/// How long runs wait whose forge is away: it never is for so long that one is given up.
const PUT_OFF: [Duration; 50] = [Duration::from_secs(5); 50];
/// A commit whose number this divides takes the server down with it.
const DEADLY: u64 = 29;

enum Event {
    /// Something is pushed, and perhaps delivered.
    Push,
    Deliver(usize, Parcel, u32),
    /// Somebody cancels a run, or wants one again.
    Ask,
    Fail,
    Start(usize),
    /// Loops of a server, in one of its lives.
    Own(usize, u32, Own),
    Watch,
}

enum Own {
    Glance {
        again: bool,
    },
    Look(Box<Looking>),
    Work {
        again: bool,
    },
    /// The number of a claim, and whether this is one of a series.
    Renew(usize, bool),
    /// The number of a claim, and whether it was stopped.
    Carried(usize, bool),
    Tell(usize, Verdict),
    GiveBack(usize),
    PutOff(usize),
    CleanUp,
    End,
}

/// How long a world lived.
pub(crate) struct Lived {
    pub(crate) events: u64,
    pub(crate) runs: usize,
}

pub(crate) struct World {
    now: Millis,
    queue: BinaryHeap<Reverse<(Millis, u64, usize)>>,
    pending: Vec<Option<Event>>,
    free: Vec<usize>,
    events: u64,
    random: fastrand::Rng,
    settings: Settings,
    model: Model,
    origins: BTreeMap<ProjectId, Origin>,
    servers: Vec<Server>,
    /// Until when the database answers nobody.
    down_until: Millis,
    keys: u64,
    claims: usize,
    sent: Vec<Parcel>,
    noise: BTreeSet<usize>,
    /// How often the server that held a run was killed or stood still.
    silenced: BTreeMap<usize, u32>,
    /// What was acknowledged.
    accepted: BTreeSet<usize>,
    ends: BTreeMap<usize, RunState>,
    cancelled: BTreeSet<usize>,
    asked: BTreeSet<usize>,
    /// Since when something waits for nothing.
    stuck_since: BTreeMap<ProjectId, Millis>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let projects = (1..=random.i64(1..=3)).map(ProjectId::from_number);
        let servers = if random.bool() { 1 } else { random.usize(2..=3) };
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            pending: Vec::new(),
            free: Vec::new(),
            events: 0,
            settings: Settings {
                look_every: Duration::from_secs(random.u64(20..=300)),
                ..Settings::default()
            },
            model: Model::default(),
            origins: projects.map(|id| (id, Origin::default())).collect(),
            servers: (0..servers).map(|_| Server::new(random.i64(0..=SKEW))).collect(),
            random,
            down_until: 0,
            keys: 0,
            claims: 0,
            sent: Vec::new(),
            noise: BTreeSet::new(),
            silenced: BTreeMap::new(),
            accepted: BTreeSet::new(),
            ends: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            asked: BTreeSet::new(),
            stuck_since: BTreeMap::new(),
        };
        for server in 0..servers {
            world.after(0..2_000, Event::Start(server));
        }
        for event in [Event::Push, Event::Ask, Event::Fail, Event::Watch] {
            world.after(0..5_000, event);
        }
        world
    }

    /// Lets everything happen, and then come to its end.
    pub(crate) fn live(mut self) -> Lived {
        while let Some(Reverse((time, _, index))) = self.queue.pop() {
            let Some(event) = self.pending[index].take() else { continue };
            self.free.push(index);
            self.now = time;
            self.events += 1;
            assert!(
                self.now < LIMIT,
                "not everything is done: {}",
                self.left().unwrap_or_default()
            );
            let is_over = matches!(event, Event::Watch) && self.watch();
            if is_over {
                break;
            }
            self.happen(event);
        }
        self.check_ends();
        Lived { events: self.events, runs: self.model.runs.len() }
    }

    fn after(&mut self, range: std::ops::Range<Millis>, event: Event) {
        let wait = self.random.i64(range);
        self.at(self.now + wait, event);
    }

    fn at(&mut self, time: Millis, event: Event) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.pending.push(None);
            self.pending.len() - 1
        });
        self.pending[index] = Some(event);
        // What is at the same time happens in the order in which it was arranged.
        self.queue.push(Reverse((time, self.events << 16 | self.queue.len() as u64, index)));
    }

    fn own(&mut self, server: usize, range: std::ops::Range<Millis>, own: Own) {
        let life = self.servers[server].life;
        self.after(range, Event::Own(server, life, own));
    }

    fn is_chaos(&self) -> bool {
        self.now < CHAOS
    }

    fn is_down(&self) -> bool {
        self.now < self.down_until
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Watch => self.after(WATCH..WATCH + 1, Event::Watch),
            Event::Push if self.is_chaos() => self.push(),
            Event::Ask if self.is_chaos() => self.ask(),
            Event::Fail if self.is_chaos() => self.fail(),
            Event::Push | Event::Ask | Event::Fail => {}
            Event::Deliver(server, parcel, tries) => self.deliver(server, parcel, tries),
            Event::Start(server) => self.start(server),
            Event::Own(server, life, own) => {
                let known = &self.servers[server];
                if known.life != life || !known.is_alive {
                    return;
                }
                let frozen_until = known.frozen_until;
                if self.now < frozen_until {
                    return self.at(frozen_until, Event::Own(server, life, own));
                }
                self.act(server, own);
            }
        }
    }

    fn project(&mut self) -> ProjectId {
        let index = self.random.usize(0..self.origins.len());
        *self.origins.keys().nth(index).unwrap()
    }

    fn push(&mut self) {
        self.after(100..15_000, Event::Push);
        let project = self.project();
        if self.random.u32(0..20) == 0 {
            let until = self.now + self.random.i64(0..20_000);
            self.origins.get_mut(&project).unwrap().down_until = until;
        }
        let is_noise = self.random.u32(0..6) == 0;
        if !is_noise {
            self.origins.get_mut(&project).unwrap().push(&mut self.random);
        }
        self.keys += 1;
        let new = Parcel { project, key: self.keys, body: 0, is_noise };
        self.sent.push(new);
        // Lost, delivered once or twice; and sometimes an old one comes again, or another under its key.
        for _ in 0..[0, 1, 1, 1, 2][self.random.usize(0..5)] {
            self.send(new);
        }
        if self.random.u32(0..5) == 0 {
            let old = self.sent[self.random.usize(0..self.sent.len())];
            let body = u64::from(self.random.u32(0..3) == 0);
            self.send(Parcel { body, ..old });
        }
    }

    fn send(&mut self, parcel: Parcel) {
        let server = self.random.usize(0..self.servers.len());
        self.after(1..10_000, Event::Deliver(server, parcel, 0));
    }

    fn deliver(&mut self, index: usize, parcel: Parcel, tries: u32) {
        let server = &self.servers[index];
        let is_heard = server.is_alive && self.now >= server.frozen_until && !self.is_down();
        if !is_heard {
            // Some forges try again.
            if tries < 2 && self.random.bool() {
                self.after(1_000..30_000, Event::Deliver(index, parcel, tries + 1));
            }
            return;
        }
        let now = self.now + server.skew;
        let kept = self.model.keep(parcel.project, parcel.key, parcel.body, now);
        let (Kept::New(delivery) | Kept::Again(delivery) | Kept::Conflict(delivery)) = kept;
        self.accepted.insert(delivery);
        if let Kept::New(_) = kept {
            if parcel.is_noise {
                self.noise.insert(delivery);
            }
            self.own(index, 0..5, Own::Glance { again: false });
        }
    }

    fn ask(&mut self) {
        self.after(1_000..60_000, Event::Ask);
        if self.is_down() || self.model.runs.is_empty() {
            return;
        }
        let index = self.random.usize(0..self.model.runs.len());
        if self.random.bool() {
            if self.model.cancel(index) {
                self.cancelled.insert(index);
            }
            return;
        }
        let run = &self.model.runs[index];
        let (project, jobset, count) = (run.project, run.jobset.clone(), self.model.runs.len());
        if let Some(index) = self.model.run_again(project, &jobset)
            && index == count
        {
            self.asked.insert(index);
        }
    }

    /// Something breaks: a server is killed, is told to end, stands still, or the database is gone for a while.
    fn fail(&mut self) {
        self.after(2_000..40_000, Event::Fail);
        let index = self.random.usize(0..self.servers.len());
        match self.random.u32(0..10) {
            0..5 => self.kill(index),
            5..7 if self.servers[index].is_alive => self.end(index),
            7..9 => {
                let until = self.now + self.random.i64(0..90_000);
                self.silence(index);
                self.servers[index].frozen_until = until;
            }
            _ => self.down_until = self.now + self.random.i64(0..45_000),
        }
    }

    /// Notes that nothing will be heard of the runs of a server for a while.
    fn silence(&mut self, index: usize) {
        for held in self.servers[index].held.values() {
            *self.silenced.entry(held.run).or_default() += 1;
        }
    }

    fn kill(&mut self, index: usize) {
        if self.servers[index].is_alive {
            self.silence(index);
            self.servers[index].is_alive = false;
            self.after(10..30_000, Event::Start(index));
        }
    }

    /// Stops everything in order; what does not stop in time is given back and left.
    fn end(&mut self, index: usize) {
        self.servers[index].is_ending = true;
        let held: Vec<usize> = self.servers[index].held.keys().copied().collect();
        for claim in held {
            self.stop(index, claim);
        }
        self.own(index, 0..10_000, Own::End);
    }

    /// Tells the engine to stop a run.
    fn stop(&mut self, index: usize, claim: usize) {
        if let Some(held) = self.servers[index].held.get_mut(&claim)
            && !held.is_stopped
        {
            held.is_stopped = true;
            self.own(index, 0..3_000, Own::Carried(claim, true));
        }
    }

    fn start(&mut self, index: usize) {
        if self.is_down() {
            return self.after(100..3_000, Event::Start(index));
        }
        self.servers[index].start(self.now);
        if self.servers.len() == 1 {
            self.model.take_lost(Millis::MAX);
        }
        self.own(index, 0..5, Own::Glance { again: true });
        self.own(index, 0..5, Own::Work { again: true });
        self.own(index, 0..5, Own::CleanUp);
    }

    /// Returns whether everything is done; fails if something waits for nothing.
    fn watch(&mut self) -> bool {
        self.check_each();
        let now = self.now;
        let is_well =
            |server: &Server| server.is_alive && !server.is_ending && now >= server.frozen_until;
        let can_work = !self.is_down()
            && self.servers.iter().all(is_well)
            && self.servers.iter().any(|server| server.held.len() < self.settings.workers);
        for project in self.origins.keys() {
            let of = |state: RunState| {
                let live = self.model.runs.iter().filter(move |run| run.state == state);
                live.filter(|run| run.project == *project)
            };
            let is_held = self
                .servers
                .iter()
                .any(|server| server.held.values().any(|held| held.jobset.0 == *project));
            let mut due = of(RunState::Queued)
                .filter(|run| run.put_off_until.is_none_or(|until| until + SKEW < now));
            let waits = due.next().is_some() && of(RunState::Running).next().is_none() && !is_held;
            let is_lost = of(RunState::Running)
                .any(|run| run.held.is_some_and(|(_, until)| until + SKEW < now));
            if can_work && (waits || is_lost) {
                let since = *self.stuck_since.entry(*project).or_insert(now);
                assert!(now - since <= STUCK, "runs of {project:?} are stuck since {since}");
            } else {
                self.stuck_since.remove(project);
            }
        }
        !self.is_chaos() && self.left().is_none() && self.servers.iter().all(is_well)
    }

    /// Ends stay, and no jobset has two runs under way.
    fn check_each(&mut self) {
        for (index, run) in self.model.runs.iter().enumerate() {
            if run.state.is_end() {
                let end = self.ends.entry(index).or_insert(run.state);
                assert_eq!(*end, run.state, "run {index} had ended");
            }
            let silenced = self.silenced.get(&index).copied().unwrap_or_default();
            let is_given_up = run.state == RunState::Errored;
            assert!(
                !is_given_up || silenced >= MOST_ATTEMPTS,
                "run {index} ended though its servers were lost {silenced} times: {run:?}"
            );
        }
        let mut under_way = BTreeSet::new();
        for run in self.model.runs.iter().filter(|run| run.state == RunState::Running) {
            let place = (run.project, &run.jobset);
            assert!(under_way.insert(place), "two runs of {place:?} are under way");
        }
        self.check_words();
    }

    /// A commit is called good only if everything that counts there is, whoever ended when: pull requests, the default branch,
    /// and what a merge queue tries and nobody stopped. And what is told there is what has the word.
    fn check_words(&self) {
        let mut counting: BTreeMap<(ProjectId, CommitId), Vec<RunState>> = BTreeMap::new();
        for (project, heads) in &self.model.heads {
            for (jobset, head) in heads {
                let (name, place) = (jobset.as_str(), (*project, head.commit));
                let newest = self.model.newest(*project, jobset, head.commit).unwrap();
                let state = self.model.runs[newest].state;
                let counts = match name {
                    QUEUE => state != RunState::Cancelled,
                    _ => name.starts_with("pull/") || name == format!("heads/{DEFAULT_BRANCH}"),
                };
                if counts {
                    counting.entry(place).or_default().push(state);
                }
            }
        }
        for (place, states) in counting {
            let (told, state) = self.model.told[&place];
            let context = format!("run {told} said {state:?}, and at {place:?} are {states:?}");
            let are_good = states.iter().all(|state| *state == RunState::Succeeded);
            assert_eq!(state == RunState::Succeeded, are_good, "{context}");
            let now = self.model.runs[told].state;
            assert!(state == now || !(state.is_end() || now.is_end()), "{now:?}: {context}");
            let word = self.model.word(place.0, place.1).run.map(RunId::number);
            assert_eq!(word, Some(i64::try_from(told).unwrap()), "{context}");
        }
    }

    /// Returns what is left to do.
    fn left(&self) -> Option<String> {
        let is_waiting = |delivery: &usize| {
            let kept = self.model.deliveries[*delivery].as_ref();
            kept.is_none_or(|kept| kept.state == DeliveryState::Waiting)
        };
        if let Some(delivery) = self.accepted.iter().find(|delivery| is_waiting(delivery)) {
            return Some(format!("delivery {delivery} waits"));
        }
        let under_way = self.model.runs.iter().position(|run| !run.state.is_end());
        if let Some(index) = under_way {
            return Some(format!("run {index}: {:?}", self.model.runs[index]));
        }
        let differs = |(id, origin): &(&ProjectId, &Origin)| {
            self.model.heads.get(id).cloned().unwrap_or_default() != origin.refs
        };
        let project = self.origins.iter().find(differs);
        project.map(|(id, _)| format!("the heads of {id:?} are not noted"))
    }

    /// The last heads have results, and every run had a reason.
    fn check_ends(&mut self) {
        self.check_each();
        assert_eq!(self.left(), None);
        for (project, origin) in &self.origins {
            for (jobset, Head { commit, .. }) in &origin.refs {
                let (index, newest) = self
                    .model
                    .runs
                    .iter()
                    .enumerate()
                    .rfind(|(_, run)| run.project == *project && run.jobset == *jobset)
                    .unwrap();
                assert_eq!(newest.commit, *commit, "{jobset} of {project:?}");
                let is_right = match newest.state {
                    RunState::Succeeded => {
                        verdict_of(jobset, number_of(*commit)) == Verdict::Succeeded
                    }
                    RunState::Failed | RunState::Conflict => {
                        newest.state == verdict_of(jobset, number_of(*commit)).into()
                    }
                    RunState::Errored => newest.attempts == MOST_ATTEMPTS,
                    RunState::Cancelled => self.cancelled.contains(&index),
                    RunState::Unapproved
                    | RunState::Queued
                    | RunState::Running
                    | RunState::Superseded => false,
                };
                assert!(is_right, "run {index}: {newest:?}");
            }
            for (jobset, history) in &origin.history {
                let mut had = history.iter().flatten();
                let runs = self.model.runs.iter().enumerate().filter(|(index, run)| {
                    run.project == *project && run.jobset == *jobset && !self.asked.contains(index)
                });
                for (index, run) in runs {
                    let has_reason = had.any(|commit| *commit == run.commit);
                    assert!(has_reason, "run {index} is one too many: {run:?}, {history:?}");
                }
            }
        }
    }

    fn act(&mut self, server: usize, own: Own) {
        match own {
            Own::Glance { again } => self.glance(server, again),
            Own::Look(looking) => self.look(server, *looking),
            Own::Work { again } => self.work(server, again),
            Own::Renew(claim, again) => self.renew(server, claim, again),
            Own::Carried(claim, is_stopped) => self.carried(server, claim, is_stopped),
            Own::Tell(claim, verdict) => self.tell(server, claim, verdict),
            // Until the database answers.
            Own::GiveBack(claim) if self.is_down() => {
                self.own(server, retry(), Own::GiveBack(claim));
            }
            Own::GiveBack(claim) => {
                let owner = self.owner(server);
                self.model.give_back(self.servers[server].held[&claim].run, owner);
                self.let_go(server, claim);
            }
            Own::PutOff(claim) if self.is_down() => {
                self.own(server, retry(), Own::PutOff(claim));
            }
            Own::PutOff(claim) => {
                let (owner, now) = (self.owner(server), self.now + self.servers[server].skew);
                let run = self.servers[server].held[&claim].run;
                self.model.put_off(run, owner, &PUT_OFF, now);
                self.let_go(server, claim);
            }
            Own::CleanUp => {
                let pause = millis(Answering::PAUSE);
                self.own(server, pause..pause + 50, Own::CleanUp);
                self.clean_up(server);
            }
            Own::End => {
                let held = self.servers[server].held.values();
                let held: Vec<usize> = held.map(|held| held.run).collect();
                let owner = self.owner(server);
                for run in held {
                    if !self.is_down() {
                        self.model.give_back(run, owner);
                    }
                }
                self.kill(server);
            }
        }
    }

    fn clean_up(&mut self, index: usize) {
        let (now, is_answered) = (self.now + self.servers[index].skew, !self.is_down());
        let server = &mut self.servers[index];
        let age = server.age(self.now);
        let tells = server.answering.tells(age);
        server.answering.note(is_answered, age);
        if !is_answered || !tells {
            return;
        }
        let lost = self.model.take_lost(now);
        if !lost.is_empty() {
            self.own(index, 0..5, Own::Work { again: false });
        }
    }

    fn owner(&self, server: usize) -> u64 {
        server as u64 * 1_000_000 + u64::from(self.servers[server].life)
    }

    fn glance(&mut self, index: usize, again: bool) {
        if again {
            self.own(index, 2_000..2_010, Own::Glance { again });
        }
        if self.is_down() || self.servers[index].is_ending {
            return;
        }
        let projects: Vec<ProjectId> = self.origins.keys().copied().collect();
        let delivered = projects.iter().copied();
        let delivered = delivered.filter(|id| !self.model.waiting(*id).is_empty()).collect();
        let server = &mut self.servers[index];
        let age = server.age(self.now);
        for (project, everything) in server.standings.due(&projects, &delivered, age) {
            let server = &mut self.servers[index];
            if server.looks >= MOST_LOOKS {
                break;
            }
            server.looks += 1;
            server.standings.begin(project);
            let looking = Looking {
                project,
                everything,
                waiting: Vec::new(),
                last: 0,
                heads: Heads::new(),
                step: Step::Read,
            };
            self.own(index, 0..20, Own::Look(Box::new(looking)));
        }
    }

    fn looked(&mut self, index: usize, project: ProjectId, look: Look) {
        let age = self.servers[index].age(self.now);
        let server = &mut self.servers[index];
        server.looks -= 1;
        server.standings.end(project, look, &self.settings, age);
        self.own(index, 0..5, Own::Glance { again: false });
    }

    fn look(&mut self, index: usize, mut looking: Looking) {
        let project = looking.project;
        let is_down = match looking.step {
            Step::ListBranches | Step::ListPullRequests => {
                self.now < self.origins[&project].down_until
            }
            Step::Read | Step::Remember | Step::Note | Step::Settle => self.is_down(),
        };
        if is_down {
            return self.looked(index, project, Look::Failed);
        }
        let mut wait = 0..30;
        match looking.step {
            Step::Read => {
                let waiting = self.model.waiting(project).into_iter();
                let (noise, calling): (Vec<usize>, Vec<usize>) =
                    waiting.partition(|delivery| self.noise.contains(delivery));
                let ignored = noise.into_iter().map(|index| (index, DeliveryState::Ignored));
                self.model.settle(&ignored.collect::<Vec<_>>());
                if calling.is_empty() && !looking.everything {
                    return self.looked(index, project, Look::Deliveries);
                }
                looking.waiting = calling;
                looking.step = Step::Remember;
            }
            Step::Remember => {
                looking.last = self.model.last_note(project);
                looking.step = Step::ListBranches;
                wait = 0..2_000;
            }
            Step::ListBranches => {
                looking.heads = self.origins[&project].list(false);
                looking.step = Step::ListPullRequests;
                wait = 0..2_000;
            }
            Step::ListPullRequests => {
                looking.heads.extend(self.origins[&project].list(true));
                looking.step = Step::Note;
                wait = 0..500;
            }
            Step::Note => {
                let heads = std::mem::take(&mut looking.heads);
                let Some(noted) = self.model.note_heads(project, looking.last, heads) else {
                    return self.looked(index, project, Look::Overtaken);
                };
                if !noted.queued.is_empty() {
                    self.own(index, 0..5, Own::Work { again: false });
                }
                if !noted.stopped.is_empty() {
                    let held: Vec<usize> = self.servers[index].held.keys().copied().collect();
                    for claim in held {
                        self.own(index, 0..5, Own::Renew(claim, false));
                    }
                }
                looking.step = Step::Settle;
            }
            Step::Settle => {
                let acted = looking.waiting.iter().map(|index| (*index, DeliveryState::Acted));
                self.model.settle(&acted.collect::<Vec<_>>());
                return self.looked(index, project, Look::Everything);
            }
        }
        self.own(index, wait, Own::Look(Box::new(looking)));
    }

    fn work(&mut self, index: usize, again: bool) {
        if again {
            self.own(index, 2_000..2_010, Own::Work { again });
        }
        while self.servers[index].held.len() < self.settings.workers
            && !self.is_down()
            && !self.servers[index].is_ending
        {
            let busy: Vec<_> =
                self.servers[index].held.values().map(|held| held.jobset.clone()).collect();
            let (owner, now) = (self.owner(index), self.now + self.servers[index].skew);
            let Some(run) = self.model.claim(owner, now, &busy) else { break };
            let jobset = (self.model.runs[run].project, self.model.runs[run].jobset.clone());
            self.check_alone(index, &jobset);
            let age = self.servers[index].age(self.now);
            let holding = Holding::new(age);
            let held = Held { run, jobset, holding, is_stopped: false, is_at_work: true };
            self.claims += 1;
            let claim = self.claims;
            self.servers[index].held.insert(claim, held);
            self.own(index, 100..60_000, Own::Carried(claim, false));
            self.own(index, lease() / 3..lease() / 3 + 1, Own::Renew(claim, true));
        }
    }

    /// Nobody else works on a jobset as long as its lease is good by its own clock.
    fn check_alone(&self, index: usize, jobset: &(ProjectId, JobsetName)) {
        for (other, server) in self.servers.iter().enumerate() {
            let is_awake = server.is_alive && self.now >= server.frozen_until;
            for held in server.held.values().filter(|_| is_awake) {
                if held.jobset != *jobset || !held.is_at_work {
                    continue;
                }
                assert_ne!(other, index, "one server works on two runs of {jobset:?}");
                let later = Duration::from_millis(SKEW.unsigned_abs());
                let is_good = held.holding.is_good(server.age(self.now) + later);
                assert!(!is_good || held.is_stopped, "two servers work on {jobset:?}");
            }
        }
    }

    fn renew(&mut self, index: usize, claim: usize, again: bool) {
        let age = self.servers[index].age(self.now);
        let (owner, now) = (self.owner(index), self.now + self.servers[index].skew);
        let is_wanted = |held: &&Held| held.is_at_work && held.holding.is_wanted();
        let Some(held) = self.servers[index].held.get(&claim).filter(is_wanted) else { return };
        let renewal = match self.is_down() {
            true => Renewal::Unanswered,
            false if self.model.renew(held.run, owner, now) => Renewal::Renewed,
            false => Renewal::Refused,
        };
        let held = self.servers[index].held.get_mut(&claim).unwrap();
        held.holding.renew(renewal, age, age);
        let is_wanted = held.holding.is_wanted();
        if !is_wanted {
            self.stop(index, claim);
        } else if again {
            let pause = millis(self.servers[index].held[&claim].holding.pause());
            self.own(index, pause..pause + 20, Own::Renew(claim, again));
        }
    }

    fn carried(&mut self, index: usize, claim: usize, is_stopped: bool) {
        let is_ending = self.servers[index].is_ending;
        let Some(held) = self.servers[index].held.get_mut(&claim) else { return };
        if !held.is_at_work {
            return;
        }
        held.is_at_work = false;
        let (run, is_wanted) = (held.run, held.holding.is_wanted());
        let number = number_of(self.model.runs[run].commit);
        if !is_stopped && number.is_multiple_of(DEADLY) {
            return self.kill(index);
        }
        let verdict = verdict_of(&self.model.runs[run].jobset, number);
        let is_away = self.now < self.origins[&self.model.runs[run].project].down_until;
        let carried = match (is_stopped, is_away) {
            (true, _) => Carried::Stopped,
            (false, true) => Carried::Hindered { why: String::new() },
            (false, false) => Carried::Ended(Ended::new(verdict, "")),
        };
        match told(Ok(carried), is_wanted, is_ending) {
            Told::End(ended) => self.own(index, 0..50, Own::Tell(claim, ended.verdict)),
            Told::GiveBack => self.own(index, 0..50, Own::GiveBack(claim)),
            Told::PutOff(_) => self.own(index, 0..50, Own::PutOff(claim)),
        }
    }

    fn tell(&mut self, index: usize, claim: usize, verdict: Verdict) {
        if self.is_down() {
            return self.own(index, retry(), Own::Tell(claim, verdict));
        }
        let (run, owner) = (self.servers[index].held[&claim].run, self.owner(index));
        let known = &self.model.runs[run];
        let is_held = known.held.is_some_and(|(holder, _)| holder == owner);
        let counts = is_held && known.state == RunState::Running;
        assert_eq!(self.model.end(run, owner, verdict), counts, "an end counts once");
        self.let_go(index, claim);
    }

    fn let_go(&mut self, index: usize, claim: usize) {
        self.servers[index].held.remove(&claim);
        self.own(index, 0..5, Own::Work { again: false });
    }
}

/// Returns how the run of a commit ends that is carried out: into another branch, otherwise.
fn verdict_of(jobset: &JobsetName, number: u64) -> Verdict {
    let number = number + u64::from(jobset.as_str() == "pull/2");
    match (number.is_multiple_of(2), number.is_multiple_of(3)) {
        (true, _) => Verdict::Succeeded,
        (false, true) => Verdict::Conflict,
        (false, false) => Verdict::Failed,
    }
}
