//! One database with its repositories, whose server is killed over and over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use levain_server::Database;
use levain_server::points::Point;
use levain_server::projects::{Added, NewProject};
use sqlx::{AnyConnection, Connection, Executor, Row};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Hits;
use crate::built::Machine;
use crate::checks::{Checked, Settled};
use crate::origin::Origin;
use crate::sent::{Accepted, Ledger, Parcel, Post};

/// How often a server is killed in one world.
pub(crate) const CYCLES: usize = 25;
/// The first ones are killed while they make the database.
const OPENING: usize = 4;
/// After so many kills everything is left to come to its end.
const SETTLING: usize = 7;
/// How long anything may be stuck after a restart.
const LIMIT: Duration = Duration::from_secs(60);

/// The kinds of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Makes an empty database; returns its address.
    async fn make(self, directory: &Path) -> String {
        sqlx::any::install_default_drivers();
        if self == Self::Sqlite {
            return format!("sqlite:{}", directory.join("levain.sqlite").display());
        }
        let server = std::env::var("LEVAIN_TEST_POSTGRES").expect(
            "LEVAIN_TEST_POSTGRES is the address of a PostgreSQL server, without a database; hint: `scripts/kill-server`",
        );
        let mut connection = AnyConnection::connect(&format!("{server}/postgres")).await.unwrap();
        let name = format!("test_{:032x}", fastrand::u128(..));
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        connection.close().await.unwrap();
        format!("{server}/{name}")
    }
}

/// When a server is killed.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// At a point, by itself.
    point: Option<Point>,
    /// When it comes there for the so-manieth time.
    count: usize,
    /// At this time in any case.
    after: Duration,
    /// Whether it is asked to end first.
    ends: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At its point.
    ByItself,
    /// As it was asked to.
    InOrder,
    /// The test killed it.
    Killed,
}

/// A process that is killed.
struct Served {
    child: Child,
    port: Option<u16>,
    plan: Plan,
    end: Option<End>,
}

impl Served {
    fn start(url: &str, plan: Plan, directory: &Path) -> Self {
        let log = directory.join("log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let point = plan.point.map_or_else(|| "none".to_owned(), |point| format!("{point:?}"));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", url, &point, &plan.count.to_string()])
            .arg(machine_of(directory))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, port: None, plan, end: None }
    }

    /// Waits until it listens; returns whether it does.
    async fn listen(&mut self) -> bool {
        let mut line = String::new();
        let stdout = self.child.stdout.take().unwrap();
        drop(BufReader::new(stdout).read_line(&mut line).await);
        self.port = line.trim_end().parse().ok();
        self.port.is_some()
    }

    /// Returns whether it has ended, which it may only do in the ways that it is told to.
    fn has_ended(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        if self.end.is_none()
            && let Some(status) = self.child.try_wait().unwrap()
        {
            let is_at_point = status.signal() == Some(9) && self.plan.point.is_some();
            assert!(is_at_point || self.plan.ends && status.success(), "{:?}: {status}", self.plan);
            self.end = Some(if is_at_point { End::ByItself } else { End::InOrder });
        }
        self.end.is_some()
    }

    /// Waits until it has ended, or for a while.
    async fn wait(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.has_ended() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Asks it to end in order.
    fn ask(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(rustix::process::Pid::from_raw).unwrap();
        // It may end at this moment.
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap_or_default();
    }

    /// Kills it if it has not ended.
    async fn kill(&mut self) {
        if !self.has_ended() {
            self.child.kill().await.unwrap();
            self.end = Some(End::Killed);
        }
    }
}

/// A project, and what its forge knows.
struct Known {
    added: Added,
    sender: Sender,
}

pub(crate) struct World {
    kind: Kind,
    random: fastrand::Rng,
    directory: TempDir,
    url: String,
    origins: Vec<Origin>,
    projects: Vec<Known>,
    post: Post,
    sent: Vec<Parcel>,
    ledger: Ledger,
    checked: Checked,
    next_point: usize,
    next_key: u64,
    hits: Hits,
}

impl World {
    pub(crate) async fn new(kind: Kind, seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = kind.make(directory.path()).await;
        let origin = |index| Origin::new(directory.path(), &format!("p{index}"), seed);
        Self {
            kind,
            random: fastrand::Rng::with_seed(seed),
            origins: (0..3).map(origin).collect(),
            directory,
            url,
            projects: Vec::new(),
            post: Post::new(),
            sent: Vec::new(),
            ledger: Ledger::new(),
            checked: Checked::default(),
            // The other kind of database is half way round.
            next_point: usize::try_from(seed % Point::ALL.len() as u64).unwrap()
                + kind as usize * Point::ALL.len() / 2,
            next_key: 0,
            hits: Hits::new(),
        }
    }

    /// Kills one server after the other, and looks after each what the next one finds.
    pub(crate) async fn live(mut self) -> Hits {
        for cycle in 0..CYCLES {
            if cycle == OPENING {
                self.add_projects().await;
            }
            if cycle % SETTLING == SETTLING - 1 {
                self.settle().await;
            }
            let plan = self.plan(cycle);
            self.kill(plan).await;
        }
        self.settle().await;
        self.hits
    }

    fn plan(&mut self, cycle: usize) -> Plan {
        let random = &mut self.random;
        if cycle < OPENING {
            let points = [Point::DatabaseConnected, Point::DatabaseMigrated, Point::DatabaseOpened];
            let point = points.get(random.usize(0..6)).copied();
            let after = Duration::from_millis(random.u64(0..60));
            return Plan { point, count: 1, after, ends: false };
        }
        if random.u32(0..6) == 0 {
            let after = Duration::from_millis(random.u64(0..250));
            return Plan { point: None, count: 1, after, ends: random.bool() };
        }
        let point = Point::ALL[self.next_point % Point::ALL.len()];
        self.next_point += 1;
        // Some come but once, and others are in between more when they come again.
        let count = if random.u32(0..3) > 0 { 1 } else { random.usize(2..6) };
        let ends = point == Point::EndAsked || random.u32(0..8) == 0;
        Plan { point: Some(point), count, after: Duration::from_millis(700), ends }
    }

    async fn add_projects(&mut self) {
        let database = Database::open(&self.url.parse().unwrap()).await.unwrap();
        for (index, origin) in self.origins.iter().enumerate() {
            let sender = if index == 2 { Sender::Git } else { Sender::DEFAULT };
            let url = origin.bare.display().to_string();
            let new = NewProject::new(format!("p{index}"), sender, url);
            let added = database.add_project(new).await.unwrap();
            self.projects.push(Known { added, sender });
        }
        database.close().await;
    }

    async fn kill(&mut self, plan: Plan) {
        let mut served = Served::start(&self.url, plan, self.directory.path());
        if self.projects.is_empty() {
            // While it makes the database.
            drop(timeout(plan.after, served.listen()).await);
            if plan.point.is_some() {
                served.wait(Duration::from_secs(10)).await;
            }
        } else if served.listen().await {
            self.check(None).await;
            self.act(&mut served).await;
        } else {
            served.wait(Duration::from_secs(10)).await;
            assert!(served.end.is_some(), "it neither listens nor ends");
        }
        served.kill().await;
        let point = plan.point.filter(|_| served.end == Some(End::ByItself));
        *self.hits.entry(point).or_default() += 1;
    }

    /// Pushes and delivers until the server is killed.
    async fn act(&mut self, served: &mut Served) {
        let Some(port) = served.port else { return };
        let until = Instant::now() + served.plan.after;
        let mut posts = JoinSet::new();
        while !served.has_ended() && Instant::now() < until {
            for parcel in self.parcels() {
                let known = &self.projects[parcel.project];
                let added = Added {
                    id: known.added.id,
                    hook: known.added.hook.clone(),
                    secret: known.added.secret.clone(),
                };
                let (post, sender) = (self.post.clone(), known.sender);
                posts.spawn(async move {
                    let accepted = post.send(port, &added, sender, &parcel).await;
                    (parcel, accepted)
                });
            }
            // Many at a time, and not without end.
            while posts.len() > 8
                && let Some(result) = posts.join_next().await
            {
                self.accept(result.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(self.random.u64(0..8))).await;
        }
        if served.plan.ends && !served.has_ended() {
            served.ask();
            // Sometimes it may end in order.
            served.wait(Duration::from_millis(self.random.u64(0..300))).await;
        }
        served.kill().await;
        while let Some(result) = posts.join_next().await {
            self.accept(result.unwrap());
        }
    }

    /// Pushes now and then; returns what is delivered next.
    fn parcels(&mut self) -> Vec<Parcel> {
        let random = &mut self.random;
        let project = random.usize(0..self.origins.len());
        let mut key = || {
            self.next_key += 1;
            self.next_key
        };
        let parcels = match random.u32(0..100) {
            0..40 => {
                let mut pushed = self.origins[project].push(random);
                // Some deliveries are lost, others come twice.
                pushed.truncate(random.usize(0..3));
                let new = |name: &String| Parcel::push(project, key(), name);
                let new: Vec<Parcel> = pushed.iter().map(new).collect();
                if random.u32(0..4) == 0 { [new.clone(), new].concat() } else { new }
            }
            40..55 if !self.sent.is_empty() => {
                vec![self.sent[random.usize(0..self.sent.len())].clone()]
            }
            55..62 if !self.sent.is_empty() => {
                vec![self.sent[random.usize(0..self.sent.len())].contradicted()]
            }
            62..80 => vec![Parcel::noise(project, key(), random)],
            80..88 => (0..8).map(|_| Parcel::push(project, key(), "refs/heads/main")).collect(),
            _ => Vec::new(),
        };
        self.sent.extend(parcels.iter().cloned());
        parcels
    }

    fn accept(&mut self, (parcel, accepted): (Parcel, Option<Accepted>)) {
        let Some(new) = accepted else { return };
        let kept = self.ledger.entry((parcel.project, parcel.key)).or_insert(new.clone());
        assert_eq!(kept.id, new.id, "one key, two deliveries");
        if new.body.is_some() {
            kept.body = new.body;
        }
    }

    /// Starts a server that is left alone until everything is done.
    async fn settle(&mut self) {
        if self.projects.is_empty() {
            return;
        }
        let plan = Plan { point: None, count: 1, after: LIMIT, ends: false };
        let mut served = Served::start(&self.url, plan, self.directory.path());
        assert!(served.listen().await, "it does not listen");
        let until = Instant::now() + LIMIT;
        let mut left = self.check(Some(Settled::Eventually)).await;
        while left.is_some() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
            left = self.check(Some(Settled::Eventually)).await;
        }
        let kind = self.kind.name();
        assert_eq!(left, None, "{kind}: stuck for longer than {LIMIT:?}");
        self.check(Some(Settled::Now)).await;
        served.kill().await;
        self.age().await;
    }

    /// Looks at the database; returns what is not settled if that is asked for.
    async fn check(&mut self, settled: Option<Settled>) -> Option<String> {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        let origins = &self.origins;
        let machine = Machine::new(&machine_of(self.directory.path()));
        let checked = &mut self.checked;
        let left = checked.check(&mut connection, origins, &machine, &self.ledger, settled).await;
        connection.close().await.unwrap();
        left
    }

    /// Makes some of what is settled so old that the next server forgets it.
    async fn age(&mut self) {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        let rows = connection
            .fetch_all(
                "UPDATE deliveries SET received_at = 1 WHERE state <> 'waiting' AND id % 3 = 0
                 RETURNING (SELECT name FROM projects WHERE projects.id = project), key",
            )
            .await
            .unwrap();
        for row in rows {
            let (name, key): (String, String) = (row.get(0), row.get(1));
            let project: usize = name[1..].parse().unwrap();
            self.sent.retain(|parcel| parcel.project != project || parcel.key != key);
            self.ledger.remove(&(project, key));
        }
        connection.close().await.unwrap();
    }
}

/// Returns where a server has its mirrors, and what it built.
fn machine_of(directory: &Path) -> PathBuf {
    directory.join("machine")
}

/// What the tests know the projects by, in the order of their numbers.
pub(crate) async fn names(connection: &mut AnyConnection) -> BTreeMap<i64, usize> {
    let rows = connection.fetch_all("SELECT id, name FROM projects").await.unwrap();
    let named = |name: String| name[1..].parse().unwrap();
    rows.iter().map(|row| (row.get(0), named(row.get(1)))).collect()
}
