//! What is remembered from run to run: one suite for files, SQLite and PostgreSQL, and how files are taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use levain_engine::records::{
    Jobsets, Mark, NewSuccess, OpenRecords, RecordedCache, Records, StoredEntry, Success,
    Successes, in_files,
};
use levain_engine::state::{Kind, State, StateWriter};
use levain_evaluator::key::{Key, KeyDocument};
use levain_evaluator::pointer::Tier;
use levain_evaluator::{JobName, JobsetName};
use levain_server::Database;
use levain_server::projects::NewProject;
use levain_server::records::in_database;
use levain_store::DerivationPath;
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::support::{GITHUB, databases, project};

const URL: &str = "https://example.org/o/r";
const ONE: &str = "prwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv";
const TWO: &str = "qrwm9syyq3qlrywj4hir7c92gf7kbl1q-lib.drv";
const THREE: &str = "rrwm9syyq3qlrywj4hir7c92gf7kbl1q-doc.drv";

/// Something that remembers, with a repository of which nothing is remembered yet.
struct Kept {
    name: &'static str,
    open: Arc<OpenRecords>,
    state: State,
    writer: StateWriter,
    _directory: TempDir,
}

impl Kept {
    fn new(name: &'static str, open: Arc<OpenRecords>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = State::of(directory.path());
        let writer = state.lock().unwrap();
        Self { name, open, state, writer, _directory: directory }
    }

    /// Opens the records as another run does.
    fn records(&self) -> Arc<dyn Records> {
        (self.open)(&self.state, Some(&self.writer)).unwrap()
    }
}

/// Calls `test` for each that remembers, on a thread that may wait.
async fn each(test: impl Fn(&Kept) + Send + Clone + 'static) {
    let mut all = vec![("files", in_files())];
    let databases = databases().await;
    for (name, database) in ["SQLite", "PostgreSQL"].into_iter().zip(&databases) {
        all.push((name, in_database(database.open().await, Handle::current(), URL.to_owned())));
    }
    for (name, open) in all {
        let test = test.clone();
        tokio::task::spawn_blocking(move || test(&Kept::new(name, open))).await.unwrap();
    }
}

fn base(name: &str) -> DerivationPath {
    name.parse().unwrap()
}

fn success(job: &str, time: u64, tier: Tier, cache: RecordedCache) -> Success {
    Success {
        built: format!("/nix/store/{ONE}"),
        outputs: BTreeMap::from([
            ("cache".to_owned(), "/nix/store/c".to_owned()),
            ("out".to_owned(), "/nix/store/o".to_owned()),
        ]),
        commit: "2".repeat(40).parse().unwrap(),
        time,
        tier,
        job: job.into(),
        cache,
    }
}

fn entry() -> RecordedCache {
    RecordedCache::Entry(StoredEntry::from("{ entry = { }; }\n".to_owned()))
}

fn document(value: &str) -> KeyDocument {
    serde_json::from_value(serde_json::json!({ "env CFLAGS": value })).unwrap()
}

impl Kept {
    fn add(&self, base_name: &str, maker: Option<&JobsetName>, success: &Success) {
        let base = base(base_name);
        let new = NewSuccess { base: &base, maker, success, key: None };
        self.records().add_success(&self.writer, &new).unwrap();
    }

    fn known(&self, bases: &[&str]) -> BTreeMap<DerivationPath, Successes> {
        let bases = bases.iter().map(|name| base(name)).collect();
        self.records().successes(&bases).unwrap()
    }

    fn of(&self, name: &str) -> Successes {
        self.known(&[name]).remove(&base(name)).unwrap_or_default()
    }

    fn marks(&self) -> BTreeSet<Mark> {
        self.records().marks().unwrap().into_iter().collect()
    }

    fn mark(&self, mark: &Mark) {
        self.records().mark(&self.writer, mark).unwrap();
    }
}

fn until(jobset: Jobsets, job: Option<&str>, time: u64) -> Mark {
    Mark::Until { jobset, job: job.map(JobName::from), time }
}

fn off(jobset: Jobsets, job: &str, digit: &str) -> Mark {
    Mark::Off { jobset, job: job.into(), commit: digit.repeat(40).parse().unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_is_known_as_it_was_recorded() {
    each(|kept| {
        let (main, fork) = (JobsetName::branch("main"), JobsetName::pull_request(7));
        assert!(kept.known(&[ONE, TWO]).is_empty(), "{}", kept.name);
        let clean = success("x.app", 1, Tier::Fork, RecordedCache::None);
        let made = success("x.app", 2, Tier::DefaultBranch, entry());
        let forks = success("", 3, Tier::Fork, RecordedCache::Unusable);
        kept.add(ONE, None, &clean);
        kept.add(ONE, Some(&main), &made);
        kept.add(ONE, Some(&fork), &forks);
        kept.add(TWO, Some(&fork), &forks);
        let known = kept.known(&[ONE, TWO, THREE]);
        assert_eq!(known.len(), 2, "{}: nothing is made up", kept.name);
        // Who made what is kept apart: a fork's says nothing for others.
        let one = &known[&base(ONE)];
        assert_eq!(one.clean.as_ref(), Some(&clean), "{}", kept.name);
        assert_eq!(one.incremental, BTreeMap::from([(main, made), (fork.clone(), forks.clone())]));
        let two = &known[&base(TWO)];
        assert_eq!((two.clean.as_ref(), two.incremental.len()), (None, 1), "{}", kept.name);
        // The newest of a maker counts, whatever its clock says.
        let newer = success("x.app", 1, Tier::Fork, entry());
        kept.add(TWO, Some(&fork), &newer);
        assert_eq!(kept.of(TWO).incremental, BTreeMap::from([(fork, newer)]), "{}", kept.name);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_what_was_named() {
    each(|kept| {
        let (main, fork) = (JobsetName::branch("main"), JobsetName::pull_request(7));
        let made = |job: &str| success(job, 1, Tier::Branch, entry());
        let fill = || {
            for name in [ONE, TWO] {
                let job = if name == ONE { "a" } else { "b" };
                kept.add(name, None, &made(job));
                kept.add(name, Some(&main), &made(job));
                kept.add(name, Some(&fork), &made(job));
            }
        };
        let forget = |jobset: Option<&JobsetName>, job: Option<&str>| {
            let job = job.map(JobName::from);
            kept.records().forget_incremental(&kept.writer, jobset, job.as_ref()).unwrap()
        };
        // Who is left, by base derivation; and whether the clean one's cache can be used.
        let left = || {
            [ONE, TWO].map(|name| {
                let known = kept.of(name);
                let makers: Vec<String> =
                    known.incremental.keys().map(ToString::to_string).collect();
                let is_usable = matches!(known.clean.unwrap().cache, RecordedCache::Entry(_));
                (makers.join(" "), is_usable)
            })
        };
        let both = || "heads/main pull/7".to_owned();
        fill();
        assert_eq!(forget(Some(&JobsetName::branch("other")), Some("c")), 0, "{}", kept.name);
        assert_eq!(left(), [(both(), true), (both(), true)], "{}", kept.name);
        assert_eq!(forget(Some(&main), Some("a")), 1, "{}", kept.name);
        assert_eq!(left(), [("pull/7".to_owned(), false), (both(), true)], "{}", kept.name);
        assert_eq!(forget(None, Some("b")), 2, "{}", kept.name);
        assert_eq!(left(), [("pull/7".to_owned(), false), (String::new(), false)], "{}", kept.name);
        fill();
        assert_eq!(forget(Some(&fork), None), 2, "{}", kept.name);
        let main = || "heads/main".to_owned();
        assert_eq!(left(), [(main(), false), (main(), false)], "{}", kept.name);
        fill();
        assert_eq!(forget(None, None), 4, "{}", kept.name);
        // What is dropped without a clean one is not known at all.
        kept.add(THREE, Some(&fork), &made("c"));
        forget(None, Some("c"));
        assert!(kept.known(&[THREE]).is_empty(), "{}", kept.name);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_stay_until_they_are_allowed() {
    each(|kept| {
        let main = || Jobsets::One(JobsetName::branch("main"));
        assert!(kept.marks().is_empty());
        let all = [
            until(Jobsets::All, None, 5),
            until(main(), Some("a"), 6),
            until(main(), None, 7),
            off(Jobsets::All, "a", "1"),
            off(main(), "a", "2"),
            off(main(), "b", "3"),
        ];
        all.iter().for_each(|mark| kept.mark(mark));
        assert_eq!(kept.marks(), all.iter().cloned().collect(), "{}", kept.name);
        // A clock that goes backwards takes nothing back.
        kept.mark(&until(main(), None, 3));
        assert!(kept.marks().contains(&all[2]), "{}", kept.name);
        kept.mark(&until(main(), None, 8));
        let mut expected: BTreeSet<Mark> = all.iter().cloned().collect();
        expected.remove(&all[2]);
        expected.insert(until(main(), None, 8));
        kept.mark(&off(main(), "b", "4"));
        expected.remove(&all[5]);
        expected.insert(off(main(), "b", "4"));
        assert_eq!(kept.marks(), expected, "{}", kept.name);
        let allow = |job: &str| kept.records().allow(&kept.writer, &job.into()).unwrap();
        assert!(allow("a"), "{}", kept.name);
        assert!(!allow("a"), "{}", kept.name);
        expected.retain(|mark| match mark {
            Mark::Off { job, .. } => job.as_str() != "a",
            Mark::Until { .. } => true,
        });
        assert_eq!(kept.marks(), expected, "{}: what was dropped stays dropped", kept.name);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_explained_all_at_once() {
    each(|kept| {
        let documents = [document("-O1"), document("-O2")];
        let base = base(ONE);
        let made = success("a", 1, Tier::Branch, RecordedCache::None);
        // Twice: a key is what it is.
        for document in documents.iter().chain(&documents) {
            let new = NewSuccess { base: &base, maker: None, success: &made, key: Some(document) };
            kept.records().add_success(&kept.writer, &new).unwrap();
        }
        let unknown: Key = "a".repeat(64).parse().unwrap();
        let asked = documents.iter().map(KeyDocument::key).chain([unknown]).collect();
        let found = kept.records().keys(&asked).unwrap();
        let expected = documents.iter().map(|document| (document.key(), document.clone()));
        assert_eq!(found, expected.collect(), "{}", kept.name);
        assert!(kept.records().keys(&BTreeSet::new()).unwrap().is_empty(), "{}", kept.name);
    })
    .await;
}

/// As many as no statement takes parameters.
#[tokio::test(flavor = "multi_thread")]
async fn many_are_asked_for_at_once() {
    each(|kept| {
        let many: BTreeSet<DerivationPath> = (0..70_000_u32)
            .map(|number| {
                let mut digest = [0; 20];
                digest[..4].copy_from_slice(&number.to_be_bytes());
                let path = levain_store::StorePath::new(digest, "many.drv").unwrap();
                DerivationPath::try_from(path).unwrap()
            })
            .collect();
        let made = success("a", 1, Tier::Branch, RecordedCache::None);
        let ends = [many.first().unwrap(), many.last().unwrap()];
        for base in ends {
            let new = NewSuccess { base, maker: None, success: &made, key: None };
            kept.records().add_success(&kept.writer, &new).unwrap();
        }
        let found = kept.records().successes(&many).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ends, "{}", kept.name);
    })
    .await;
}

/// Two servers with mirrors of their own, and one that looks at another repository.
#[tokio::test(flavor = "multi_thread")]
async fn servers_of_one_database_share_what_is_known() {
    for test in databases().await {
        let (one, other) = (test.open().await, test.open().await);
        let here = Handle::current();
        tokio::task::spawn_blocking(move || {
            let at = |database: &Database, url: &str| {
                Kept::new("", in_database(database.clone(), here.clone(), url.to_owned()))
            };
            let (first, second) = (at(&one, URL), at(&other, URL));
            let elsewhere = at(&one, "https://example.org/o/other");
            let fork = JobsetName::pull_request(7);
            first.add(ONE, Some(&fork), &success("a", 1, Tier::Fork, entry()));
            assert_eq!(second.of(ONE).incremental[&fork].tier, Tier::Fork);
            assert!(elsewhere.known(&[ONE]).is_empty());
            let mark = off(Jobsets::One(fork.clone()), "a", "1");
            second.mark(&mark);
            assert_eq!(first.marks(), [mark].into());
            assert!(elsewhere.marks().is_empty());
            let forgotten = second.records().forget_incremental(&second.writer, Some(&fork), None);
            assert_eq!(forgotten.unwrap(), 1);
            assert!(first.known(&[ONE]).is_empty());
        })
        .await
        .unwrap();
    }
}

/// What a signature calls one is one, whichever address a project gives.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_the_same_however_its_address_is_spelt() {
    for test in databases().await {
        let database = test.open().await;
        let here = Handle::current();
        let db = database.clone();
        tokio::task::spawn_blocking(move || {
            let at = |url: &str| Kept::new("", in_database(db.clone(), here.clone(), url.into()));
            let first = at(URL);
            let lie = off(Jobsets::All, "a", "1");
            first.mark(&lie);
            let other = at("https://example.org/o/other");
            assert!(other.marks().is_empty());
            for url in [
                "https://example.org/o/r.git",
                "https://me@Example.org/o/r/",
                "ssh://git@example.org:2222/o/r.git",
                "git@example.org:o/r",
            ] {
                assert_eq!(at(url).marks(), [lie.clone()].into(), "{url}");
                assert!(other.marks().is_empty());
            }
        })
        .await
        .unwrap();
    }
}

/// As an earlier version left them.
#[tokio::test(flavor = "multi_thread")]
async fn repositories_that_an_earlier_version_kept_apart_become_one() {
    for test in databases().await {
        let database = test.open().await;
        let here = Handle::current();
        let (main, topic) = (JobsetName::branch("main"), JobsetName::branch("topic"));
        let made = |job: &str, time| success(job, time, Tier::Branch, entry());
        let kept = tokio::task::spawn_blocking({
            let (database, here) = (database.clone(), here.clone());
            let (main, topic) = (main.clone(), topic.clone());
            move || {
                let at = |url: &str| {
                    Kept::new("", in_database(database.clone(), here.clone(), url.into()))
                };
                let (first, second) = (at(URL), at("https://example.org/o/other"));
                first.add(ONE, Some(&main), &made("a", 5));
                first.add(TWO, Some(&main), &made("b", 5));
                first.add(THREE, None, &made("c", 9));
                first.mark(&until(Jobsets::All, Some("c"), 3));
                first.mark(&off(Jobsets::All, "a", "1"));
                second.add(ONE, Some(&main), &made("a", 6));
                second.add(TWO, Some(&main), &made("b", 4));
                second.add(ONE, Some(&topic), &made("a", 2));
                second.add(THREE, None, &made("c", 2));
                second.mark(&until(Jobsets::All, Some("c"), 7));
                second.mark(&until(Jobsets::One(topic.clone()), Some("a"), 2));
                first
            }
        })
        .await
        .unwrap();
        let mut connection = test.connect().await;
        for text in [
            "UPDATE repositories SET url = 'git@example.org:o/r.git' WHERE url LIKE '%other'",
            "UPDATE repositories SET name = NULL",
        ] {
            sqlx::query(text).execute(&mut connection).await.unwrap();
        }
        let again = test.open().await;
        let open = in_database(again, here, "https://example.org/o/r.git".to_owned());
        tokio::task::spawn_blocking(move || {
            let now = Kept::new("", open);
            let marks = BTreeSet::from([
                off(Jobsets::All, "a", "1"),
                until(Jobsets::All, Some("c"), 7),
                until(Jobsets::One(topic), Some("a"), 2),
            ]);
            assert_eq!(now.marks(), marks);
            assert_eq!(kept.marks(), marks, "a server that had it open goes on");
            // The newer ones; and what was dropped of one counts for the other.
            assert_eq!(now.of(ONE).incremental, BTreeMap::from([(main.clone(), made("a", 6))]));
            assert_eq!(now.of(TWO).incremental, BTreeMap::from([(main, made("b", 5))]));
            assert_eq!(now.of(THREE).clean, Some(made("c", 9)));
        })
        .await
        .unwrap();
        let rows = sqlx::query("SELECT id FROM repositories").fetch_all(&mut connection).await;
        assert_eq!(rows.unwrap().len(), 1);
        sqlx::Connection::close(connection).await.unwrap();
    }
}

/// Whose repository it was until then, nobody says.
#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_added_starts_from_no_cache_that_is_known_already() {
    for test in databases().await {
        let database = test.open().await;
        let open = in_database(database.clone(), Handle::current(), URL.to_owned());
        let kept = Arc::new(Kept::new("", open));
        let branch = JobsetName::branch("topic");
        let record = |time| {
            let (kept, branch) = (Arc::clone(&kept), branch.clone());
            tokio::task::spawn_blocking(move || {
                kept.add(ONE, None, &success("a", time, Tier::DefaultBranch, entry()));
                kept.add(TWO, Some(&branch), &success("b", time, Tier::Branch, entry()));
            })
        };
        let known = || {
            let kept = Arc::clone(&kept);
            tokio::task::spawn_blocking(move || (kept.of(ONE), kept.of(TWO), kept.marks()))
        };
        record(1).await.unwrap();
        project(&database, "p", GITHUB).await;
        let (clean, incremental, marks) = known().await.unwrap();
        assert_eq!(
            clean.clean.unwrap().cache,
            RecordedCache::Unusable,
            "it was built all the same"
        );
        assert!(incremental.incremental.is_empty());
        let [Mark::Until { jobset: Jobsets::All, job: None, time }] = &*Vec::from_iter(marks)
        else {
            panic!("no mark for all")
        };
        // Another project with the same repository takes nothing away.
        record(*time + 1).await.unwrap();
        let same = NewProject::new("q", GITHUB, "https://example.org/o/r.git");
        database.add_project(same).await.unwrap();
        assert_eq!(known().await.unwrap().1.incremental.len(), 1);
    }
}

/// Fills files as the command line does.
fn in_the_files(kept: &Kept, files: &[(&str, Option<&JobsetName>, Success)], marks: &[Mark]) {
    for (name, maker, success) in files {
        let base = base(name);
        let document = document("-O1");
        let new = NewSuccess { base: &base, maker: *maker, success, key: Some(&document) };
        kept.state.add_success(&kept.writer, &new).unwrap();
    }
    marks.iter().for_each(|mark| kept.state.mark(&kept.writer, mark).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_taken_over_once() {
    for test in databases().await {
        let database = test.open().await;
        let open = in_database(database, Handle::current(), URL.to_owned());
        tokio::task::spawn_blocking(move || {
            let main = JobsetName::branch("main");
            let made = |time| success("a", time, Tier::Branch, entry());
            let kept = Kept::new("", Arc::clone(&open));
            let dropped = until(Jobsets::One(main.clone()), Some("a"), 10);
            in_the_files(
                &kept,
                &[(ONE, None, made(1)), (ONE, Some(&main), made(20)), (TWO, Some(&main), made(11))],
                std::slice::from_ref(&dropped),
            );
            // Old records of another version say nothing.
            let old = serde_json::json!({ "clean": null, "incremental": {} });
            kept.writer.store(Kind::Successes, THREE, &old).unwrap();

            // Nothing may be written: the files are read as they are.
            let read_only = (open)(&kept.state, None).unwrap();
            assert_eq!(read_only.marks().unwrap(), std::slice::from_ref(&dropped));
            assert!(levain_server::records::Home::of(&kept.state).is_none());

            assert_eq!(kept.marks(), [dropped.clone()].into());
            let known = kept.of(ONE);
            assert_eq!(known.incremental, BTreeMap::from([(main.clone(), made(20))]));
            // That clean one was recorded before the drop.
            assert_eq!(known.clean.unwrap().cache, RecordedCache::Unusable);
            assert_eq!(kept.of(TWO).incremental.len(), 1);
            assert!(kept.known(&[THREE]).is_empty());
            let key = document("-O1").key();
            assert_eq!(kept.records().keys(&[key.clone()].into()).unwrap().len(), 1);
            // The files are gone, and who only reads finds what was theirs.
            assert!(kept.state.marks().unwrap().is_empty());
            assert!(kept.state.successes(&[base(ONE)].into()).unwrap().is_empty());
            let read_only = (open)(&kept.state, None).unwrap();
            assert_eq!(read_only.marks().unwrap(), [dropped]);

            // What somebody puts there later, or forgot to remove, is not taken over any more.
            in_the_files(&kept, &[(THREE, None, made(1))], &[]);
            assert!(kept.known(&[THREE]).is_empty());
        })
        .await
        .unwrap();
    }
}

/// A server that is killed before the mirror knows that all is taken over.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_over_before_a_kill_is_not_taken_over_again() {
    for test in databases().await {
        let database = test.open().await;
        let open = in_database(database, Handle::current(), URL.to_owned());
        tokio::task::spawn_blocking(move || {
            let main = JobsetName::branch("main");
            let made = success("a", 5, Tier::Branch, entry());
            let kept = Kept::new("", open);
            in_the_files(
                &kept,
                &[(ONE, Some(&main), made.clone())],
                &[off(Jobsets::All, "a", "1")],
            );
            assert_eq!(kept.of(ONE).incremental.len(), 1);
            // As if the files were not removed yet.
            in_the_files(&kept, &[(ONE, Some(&main), made)], &[off(Jobsets::All, "a", "1")]);
            let mut home: serde_json::Value = kept.state.load(Kind::Project, "records").unwrap();
            assert_eq!(home["isComplete"], true);
            home["isComplete"] = false.into();
            kept.writer.store(Kind::Project, "records", &home).unwrap();
            // Somebody drops it before the next run opens the mirror; the database is asked past it.
            let elsewhere = Kept::new("", Arc::clone(&kept.open));
            elsewhere.records().forget_incremental(&elsewhere.writer, None, None).unwrap();
            assert!(elsewhere.records().allow(&elsewhere.writer, &"a".into()).unwrap());
            assert!(kept.known(&[ONE]).is_empty());
            assert!(kept.marks().is_empty());
        })
        .await
        .unwrap();
    }
}

/// Another machine's files, of the same repository.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_two_machines_become_one() {
    for test in databases().await {
        let database = test.open().await;
        let open = in_database(database, Handle::current(), URL.to_owned());
        tokio::task::spawn_blocking(move || {
            let (main, topic) = (JobsetName::branch("main"), JobsetName::branch("topic"));
            let made = |time| success("a", time, Tier::Branch, entry());
            let (one, other) = (Kept::new("", Arc::clone(&open)), Kept::new("", open));
            in_the_files(
                &one,
                &[(ONE, Some(&main), made(5)), (ONE, Some(&topic), made(9)), (TWO, None, made(5))],
                &[],
            );
            let drop = until(Jobsets::One(main.clone()), None, 6);
            in_the_files(
                &other,
                &[(ONE, Some(&main), made(7)), (ONE, Some(&topic), made(8)), (TWO, None, made(7))],
                std::slice::from_ref(&drop),
            );
            assert_eq!(one.of(ONE).incremental.len(), 2);
            assert_eq!(other.marks(), [drop].into());
            // The newer of two; and what one machine dropped counts for the other.
            let known = one.of(ONE).incremental;
            assert_eq!(known, BTreeMap::from([(main, made(7)), (topic, made(9))]));
            assert!(matches!(
                one.of(TWO).clean.unwrap(),
                Success { time: 7, cache: RecordedCache::Entry(_), .. }
            ));
        })
        .await
        .unwrap();
    }
}
