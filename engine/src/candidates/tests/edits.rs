//! Shadow refs that somebody edits who can write them but has no key: whatever they do, only what a
//! build made for that job and tier is chosen.
//!
//! Real commits in a real repository, read as a run reads them, and a store that has every path with
//! every NAR hash. `LEVAIN_RANDOM_EDITS=10000 cargo test -p levain-engine --lib edits` tries more.

use levain_evaluator::pointer::{Pointer, Tier};

use super::super::*;
use crate::choose::{CacheLimits, choose};
use crate::testing::{Fixture, NOW, branch, entry, key, layout, made, pull_request, signing_key};

const JOBS: [(&str, char); 2] = [("x.a", 'a'), ("x.b", 'b')];

/// One jobset of each tier.
fn jobsets() -> [Jobset; 4] {
    [branch("main", true), branch("topic", false), pull_request(1, false), pull_request(2, true)]
}

fn reference(jobset: &Jobset) -> String {
    format!("refs/levain/{}", jobset.name())
}

/// Numbers that a seed repeats.
struct Random(fastrand::Rng);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Edits a pointer file. `others` are whole files, `values` lines of entries.
fn edit(random: &mut Random, file: &mut String, others: &[String], values: &[String]) {
    match random.below(6) {
        // Another ref's file, or an older one.
        0 => *file = random.of(others).clone(),
        // A bit of any byte: mostly of hashes and signatures.
        1 => {
            let mut bytes = file.clone().into_bytes();
            let byte = random.below(bytes.len());
            bytes[byte] ^= 1 << random.below(7);
            *file = String::from_utf8_lossy(&bytes).into_owned();
        }
        // One attribute's value for another that occurs somewhere: tiers, times, paths, signatures
        // of other entries, of store objects that no build made.
        2 | 3 => {
            let new = random.of(values).clone();
            let name = new.split(" = ").next().unwrap_or_default().to_owned();
            let mut lines: Vec<&str> = file.lines().collect();
            let fitting: Vec<usize> = (0..lines.len())
                .filter(|line| lines[*line].trim_start().starts_with(&format!("{name} = ")))
                .collect();
            if !fitting.is_empty() {
                let line = *random.of(&fitting);
                lines[line] = &new;
                *file = lines.join("\n");
            }
        }
        // Jobs under each other's names.
        4 => *file = file.replace("x.a", "x.c").replace("x.b", "x.a").replace("x.c", "x.b"),
        // An attribute less.
        _ => {
            let mut lines: Vec<&str> = file.lines().collect();
            if !lines.is_empty() {
                let line = random.below(lines.len());
                lines.remove(line);
                *file = lines.join("\n");
            }
        }
    }
    if file.is_empty() {
        file.push('x');
    }
}

/// What a run would find, but for the store.
struct Found<'a, 'b> {
    records: &'b mut KnownEntries<'a>,
    job: &'b JobName,
}

impl Sources for Found<'_, '_> {
    fn own(&mut self) -> Option<Result<Candidate, Refusal>> {
        own_among(&self.records.own, self.records.jobset, self.job)
    }
    fn ancestors(&mut self) -> Vec<Candidate> {
        self.records.ancestors_of(self.job).unwrap()
    }
    fn shared(&mut self, key: &Key) -> Vec<Candidate> {
        shared_among(self.records.others, key)
    }
    fn trusts(&mut self, entry: &Entry) -> bool {
        trusts_maker(self.records.jobset, entry)
    }
    fn verify(&mut self, _: &Entry) -> Result<(), Refusal> {
        Ok(())
    }
    fn explain_key(&mut self, _: &Key) -> String {
        String::new()
    }
}

/// How many random edits are tried.
fn wanted() -> usize {
    let wanted = std::env::var("LEVAIN_RANDOM_EDITS").ok();
    wanted.map_or(400, |text| text.parse().expect("LEVAIN_RANDOM_EDITS is a number"))
}

#[test]
fn no_edit_of_shadow_refs_makes_a_cache() {
    let own = signing_key();
    let layout = layout(&own);
    let dir = &layout.store_dir;
    let fixture = Fixture::new();
    let repository = &fixture.repository;
    let old = fixture.commit(&[], "old");
    let new = fixture.commit(&[old], "new");
    // Two builds of each job on each jobset, the older ones in the history.
    let mut genuine = Vec::new();
    let mut texts = Vec::new();
    let mut seed = 0;
    for (commit, age) in [(old, 1000), (new, 10)] {
        for jobset in jobsets() {
            let mut entries = Entries::new();
            for (job, digit) in JOBS {
                seed += 1;
                let (key, commit) = (key(digit), commit.to_string());
                let made_now = made(
                    &layout,
                    &jobset,
                    job,
                    Entry { key, commit, time: NOW - age, ..entry(seed) },
                );
                genuine.push(made_now.clone());
                entries.insert(job.into(), Ok(made_now));
            }
            fixture.record(&layout, &jobset, commit, &entries);
            texts.push(crate::pointers::print(dir, &entries));
        }
    }
    let heads = jobsets().map(|jobset| repository.reference(&reference(&jobset)).unwrap().unwrap());
    // Another project's entry with the same signing key, and one that nobody signed.
    let elsewhere = crate::signing::Keyring::new("example.org/q".into(), Some(own), Vec::new());
    let top = |seed| Entry { tier: Tier::DefaultBranch, commit: new.to_string(), ..entry(seed) };
    let foreign = elsewhere.sign(dir, top(200), branch("main", true).name(), "x.a".into());
    texts.extend(
        [foreign, top(201)].map(|it| Pointer::Entries([("x.a".into(), Ok(it))].into()).print(dir)),
    );
    let mut values: Vec<String> = texts
        .iter()
        .flat_map(|text| text.lines().map(|line| line.trim().to_owned()))
        .filter(|line| line.contains(" = ") && !line.ends_with('{'))
        .collect();
    values.sort();
    values.dedup();
    let mut random = Random(fastrand::Rng::with_seed(42));
    let (mut accepted, mut edited) = (0, 0);
    for _ in 0..wanted() {
        for (jobset, head) in jobsets().iter().zip(heads) {
            fixture.point(&reference(jobset), head);
        }
        for _ in 0..=random.below(3) {
            let at = random.below(heads.len());
            let name = reference(&jobsets()[at]);
            let head = repository.reference(&name).unwrap().unwrap();
            let text = repository.file(head, "cache.nix", 1 << 20).unwrap().unwrap_or_default();
            let mut text = String::from_utf8_lossy(&text).into_owned();
            if text.is_empty() {
                text.push('x');
            }
            edit(&mut random, &mut text, &texts, &values);
            let mut head = fixture.with_file(head, "cache.nix", &text);
            if random.below(8) == 0 {
                let commit = *random.of(&[old, new, heads[0]]);
                head = fixture.with_file(head, "commit.txt", &format!("{commit}\n"));
            }
            fixture.point(&name, head);
            edited += 1;
        }
        let user = random.of(&jobsets()).clone();
        let (job, digit) = *random.of(&JOBS);
        let others = layout.read_all(repository, "refs/levain/").unwrap();
        let own = others.iter().find(|found| found.name.jobset() == Some(user.name())).unwrap();
        let own = own.entries.clone();
        let mut records = KnownEntries::new(repository, &layout, &user, new, own, &others, &[]);
        let limits = CacheLimits { depth: 50, max_age: 30 * 86_400, now: NOW };
        let mut found = Found { records: &mut records, job: &job.into() };
        let choice = choose(&key(digit), limits, &mut found);
        let Some(entry) = choice.entry() else { continue };
        accepted += 1;
        let bare = Entry { unused: None, ..entry.clone() };
        assert!(genuine.contains(&bare), "no build made {entry:?}");
        let maker = entry.maker.as_ref().unwrap();
        assert!(user.trusts(&maker.jobset, entry.tier), "{} uses {entry:?}", user.name());
        assert_eq!((entry.key.clone(), maker.job.as_str()), (key(digit), job));
    }
    // Good entries stand elsewhere, too, so an edit that is refused need not cost the cache.
    assert!(edited >= wanted() && accepted > wanted() / 2, "{accepted} after {edited} edits");
}
