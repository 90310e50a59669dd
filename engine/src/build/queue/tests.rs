//! The queue alone: who is next, who is told, and what is stopped.

use super::*;
use crate::build::standing::Class;

const HERE: Builders = Builders { local: true, remote: false };
const FAR: Builders = Builders { local: false, remote: true };
const BOTH: Builders = Builders { local: true, remote: true };

fn standing(project: &str, since: u64) -> Standing {
    Standing { project: project.into(), since, ..Standing::default() }
}

/// A queue of one run that offers tasks, each with its height and builders.
fn of_one(slots: Slots, tasks: &[(u32, Builders)]) -> Queue<usize> {
    let mut queue = Queue::new();
    queue.set_slots(slots);
    queue.enter(1, standing("p", 0));
    for (key, (height, builders)) in tasks.iter().enumerate() {
        assert!(!queue.offer(1, key, *height, *builders));
    }
    queue
}

fn local(count: usize) -> Slots {
    Slots { local: count, remote: 0 }
}

fn start_all<K: Ord + Clone>(queue: &mut Queue<K>) -> Vec<(K, Place)> {
    std::iter::from_fn(|| queue.next()).collect()
}

fn started<K: Ord + Clone>(queue: &mut Queue<K>) -> Vec<K> {
    start_all(queue).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn long_rows_come_before_short_ones_and_no_more_than_slots() {
    let mut queue = of_one(local(2), &[(0, HERE), (3, HERE), (1, HERE)]);
    assert_eq!(started(&mut queue), [1, 2]);
    assert_eq!(queue.ended(&2), [1]);
    assert_eq!(started(&mut queue), [0]);
    assert_eq!(queue.ended(&2), [] as [u64; 0], "it has ended");
    queue.ended(&0);
    queue.ended(&1);
    assert_eq!(queue.under_way(), 0);
    assert_eq!(queue.next(), None);
}

#[test]
fn what_several_runs_want_is_built_once() {
    let mut queue = Queue::new();
    queue.set_slots(local(4));
    queue.enter(1, standing("p", 0));
    queue.enter(2, standing("p", 1));
    queue.enter(3, standing("q", 2));
    assert!(!queue.offer(1, "x", 0, HERE));
    assert!(!queue.offer(2, "x", 5, HERE));
    assert_eq!(started(&mut queue), ["x"]);
    assert!(queue.offer(3, "x", 0, HERE), "it is being built");
    assert_eq!(started(&mut queue), [] as [&str; 0]);
    assert_eq!(queue.wanted_by(&"x").collect::<Vec<_>>(), [1, 2, 3]);
    // Whoever leaves stops only what nobody else wants.
    assert_eq!(queue.leave(1), [] as [&str; 0]);
    assert_eq!(queue.leave(2), [] as [&str; 0]);
    assert_eq!(queue.ended(&"x"), [3]);
    // The same derivation can be asked for again, as by somebody who tries a failure once more.
    assert!(!queue.offer(3, "x", 0, HERE));
    assert_eq!(started(&mut queue), ["x"]);
    assert_eq!(queue.leave(3), ["x"]);
    assert_eq!(queue.ended(&"x"), [] as [u64; 0]);
    assert_eq!(queue.under_way(), 0);
}

#[test]
fn whoever_waits_no_longer_leaves_the_build_to_the_others() {
    let mut queue = Queue::new();
    queue.set_slots(local(1));
    for run in 1..=3 {
        queue.enter(run, standing("p", run));
    }
    assert!(!queue.offer(1, "x", 0, HERE));
    assert!(!queue.offer(2, "x", 0, HERE));
    assert!(!queue.withdraw(1, &"x"), "it is not being built");
    assert_eq!(started(&mut queue), ["x"]);
    assert!(!queue.withdraw(3, &"x"), "it does not want it");
    assert_eq!(queue.account(&"x"), Some(1));
    assert!(!queue.withdraw(1, &"x"));
    assert_eq!(queue.account(&"x"), Some(2));
    assert!(queue.withdraw(2, &"x"), "nobody wants it any more");
    assert_eq!((queue.account(&"x"), queue.under_way()), (None, 1));
    // Somebody may come before it has ended, and what it ends with is theirs then.
    assert!(queue.offer(3, "x", 0, HERE));
    assert_eq!(queue.ended(&"x"), [3]);
    assert_eq!(queue.under_way(), 0);
    assert!(queue.runs.values().all(|run| run.building == 0));
}

#[test]
fn projects_share_and_the_more_urgent_run_of_one_goes_first() {
    let mut queue = Queue::new();
    queue.set_slots(local(4));
    let pull_request = Standing { class: Class::PullRequest, ..standing("big", 9) };
    for (run, standing) in [
        (1, standing("big", 0)),
        (2, pull_request),
        (3, standing("small", 5)),
        (4, standing("small", 6)),
    ] {
        queue.enter(run, standing);
        for number in 0..9 {
            queue.offer(run, (run, number), 0, HERE);
        }
    }
    let runs = |keys: Vec<(u64, i32)>| keys.into_iter().map(|(run, _)| run).collect::<Vec<_>>();
    // One for each project in turn; of the big one the pull request, of the small one the older.
    assert_eq!(runs(started(&mut queue)), [2, 3, 2, 3]);
    // What somebody asked for goes before all.
    queue.enter(5, Standing { is_asked_for: true, ..standing("big", 99) });
    queue.offer(5, (5, 0), 0, HERE);
    queue.ended(&(3, 8));
    assert_eq!(runs(started(&mut queue)), [5]);
    // The big one has three under way now, and the small one one.
    queue.ended(&(2, 8));
    assert_eq!(runs(started(&mut queue)), [3]);
}

#[test]
fn a_run_that_leaves_gives_up_what_it_waits_for() {
    let mut queue = of_one(local(1), &[(0, HERE), (1, HERE)]);
    queue.enter(2, standing("p", 1));
    queue.offer(2, 0, 0, HERE);
    assert_eq!(started(&mut queue), [1]);
    assert_eq!(queue.leave(1), [1]);
    // It ends by being stopped.
    assert_eq!(queue.ended(&1), [] as [u64; 0]);
    assert_eq!(started(&mut queue), [0]);
    assert_eq!(queue.ended(&0), [2]);
}

#[test]
fn remote_builders_have_slots_of_their_own() {
    let tasks = [(0, HERE), (0, BOTH), (0, BOTH), (0, BOTH), (0, BOTH)];
    let mut queue = of_one(Slots { local: 1, remote: 2 }, &tasks);
    let begun = [(4, Place::Anywhere), (3, Place::Remote), (2, Place::Remote)];
    assert_eq!(start_all(&mut queue), begun);
    queue.ended(&4);
    assert_eq!(start_all(&mut queue), [(1, Place::Anywhere)]);
    // Nix gave it to a remote builder: this machine can take another.
    queue.runs_remotely(&1);
    queue.runs_remotely(&1);
    assert_eq!(start_all(&mut queue), [(0, Place::Anywhere)]);
    for key in [0, 1, 2, 3] {
        queue.ended(&key);
    }
    assert_eq!((queue.local, queue.remote), (0, 0));
}

#[test]
fn without_slots_here_only_remote_builders_are_used() {
    let tasks = [(0, BOTH), (0, BOTH), (0, BOTH), (0, HERE), (0, HERE)];
    let mut queue = of_one(Slots { local: 0, remote: 2 }, &tasks);
    // Nobody can build the last two; Nix is asked for one of them, to say so.
    let begun = [(4, Place::Anywhere), (2, Place::Remote), (1, Place::Remote)];
    assert_eq!(start_all(&mut queue), begun);
    assert!(!queue.try_here(&1));
    queue.ended(&4);
    assert_eq!(start_all(&mut queue), [(3, Place::Anywhere)]);
    queue.ended(&2);
    assert_eq!(start_all(&mut queue), [(0, Place::Remote)]);
}

#[test]
fn what_no_remote_builder_takes_is_built_here() {
    let mut queue = of_one(Slots { local: 1, remote: 2 }, &[(0, BOTH), (0, FAR), (0, HERE)]);
    let begun = [(2, Place::Anywhere), (1, Place::Remote), (0, Place::Remote)];
    assert_eq!(start_all(&mut queue), begun);
    assert!(!queue.try_here(&1), "it cannot be built here");
    assert!(queue.try_here(&0));
    assert!(start_all(&mut queue).is_empty(), "the slot here is taken");
    queue.ended(&2);
    assert_eq!(start_all(&mut queue), [(0, Place::Anywhere)]);
    assert!(!queue.try_here(&0));
}

#[test]
fn what_rests_holds_no_slot_and_starts_when_it_is_told_to() {
    let mut queue = of_one(local(1), &[(0, HERE), (1, HERE)]);
    assert_eq!(started(&mut queue), [1]);
    assert!(queue.rest(&1));
    assert_eq!(started(&mut queue), [0]);
    queue.ended(&0);
    assert_eq!(queue.next(), None);
    queue.again(&1);
    assert_eq!(started(&mut queue), [1]);
    assert!(queue.rest(&1));
    queue.leave(1);
    queue.again(&1);
    assert_eq!(queue.next(), None, "nobody wants it any more");
}

/// Whatever happens in whatever order: slots are never exceeded, a task is never built twice at the same
/// time, whoever wants something that ends is told once, and nothing is left over.
#[test]
fn random_histories() {
    for seed in 0..2_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let slots = Slots { local: random.usize(0..3), remote: random.usize(0..3) };
        let mut queue: Queue<u32> = Queue::new();
        queue.set_slots(slots);
        let mut wants: BTreeMap<RunNumber, BTreeSet<u32>> = BTreeMap::new();
        let mut building: BTreeSet<u32> = BTreeSet::new();
        let mut resting: BTreeSet<u32> = BTreeSet::new();
        for step in 0..200 {
            let key = random.u32(0..12);
            let run = random.u64(0..5);
            match random.u8(0..10) {
                0 if !wants.contains_key(&run) => {
                    queue.enter(run, standing(["p", "q"][random.usize(0..2)], step));
                    wants.insert(run, BTreeSet::new());
                }
                0..=3 => {
                    if let Some(own) = wants.get_mut(&run)
                        && own.insert(key)
                    {
                        let builders = [HERE, FAR, BOTH][(key % 3) as usize];
                        let is_built = queue.offer(run, key, random.u32(0..4), builders);
                        assert_eq!(is_built, building.contains(&key), "seed {seed}");
                    }
                }
                4 | 5 => {
                    if let Some((key, _)) = queue.next() {
                        assert!(building.insert(key), "seed {seed}: {key} is built already");
                        assert!(!resting.contains(&key), "seed {seed}");
                        assert!(wants.values().any(|own| own.contains(&key)), "seed {seed}");
                    }
                }
                6 if building.contains(&key) => {
                    building.remove(&key);
                    if queue.rest(&key) {
                        resting.insert(key);
                    }
                }
                7 if resting.remove(&key) => queue.again(&key),
                8 if random.bool() => {
                    let own = wants.remove(&run).unwrap_or_default();
                    for key in queue.leave(run) {
                        assert!(building.contains(&key) && own.contains(&key), "seed {seed}");
                        assert!(!wants.values().any(|own| own.contains(&key)), "seed {seed}");
                    }
                    resting.retain(|key| wants.values().any(|own| own.contains(key)));
                }
                _ if building.remove(&key) => {
                    let told = queue.ended(&key);
                    let expected: Vec<RunNumber> = wants
                        .iter_mut()
                        .filter_map(|(run, own)| own.remove(&key).then_some(*run))
                        .collect();
                    assert_eq!(told, expected, "seed {seed}");
                }
                _ => {}
            }
            assert!(
                queue.local <= slots.local.max(1)
                    && queue.remote <= slots.remote.max(building.len())
            );
            assert_eq!(queue.under_way(), building.len(), "seed {seed}");
        }
        for run in wants.keys() {
            queue.leave(*run);
        }
        for key in building {
            queue.ended(&key);
        }
        assert!(queue.tasks.is_empty() && queue.under_way() == 0, "seed {seed}");
    }
}

#[test]
fn ten_thousand_tasks() {
    let mut queue = of_one(Slots { local: 4, remote: 4 }, &vec![(0, HERE); 10_000]);
    let mut running: Vec<usize> = started(&mut queue);
    let mut count = 0;
    while let Some(key) = running.pop() {
        queue.ended(&key);
        running.extend(started(&mut queue));
        assert!(running.len() <= 4);
        count += 1;
    }
    assert_eq!(count, 10_000);
}

#[test]
fn slots_may_change_while_something_waits() {
    let mut queue = of_one(local(1), &[(0, BOTH), (0, BOTH)]);
    assert_eq!(start_all(&mut queue), [(1, Place::Anywhere)]);
    queue.set_slots(Slots { local: 1, remote: 1 });
    assert_eq!(start_all(&mut queue), [(0, Place::Remote)]);
}
