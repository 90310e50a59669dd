//! The scheduler alone: graphs of numbers, and every order in which builds may end.

use levain_store::machines::Builders;

use super::*;

const HERE: Builders = Builders { local: true, remote: false };
const NOBODY: Builders = Builders { local: false, remote: false };

/// Nodes that are all wanted, with these inputs.
fn wanted(inputs: &[&[usize]]) -> Vec<Node> {
    let node = |inputs: &&[usize]| Node {
        inputs: inputs.to_vec(),
        builders: HERE,
        wanted: true,
        is_excused: false,
    };
    inputs.iter().map(node).collect()
}

fn started(schedule: &mut Schedule) -> Vec<usize> {
    std::iter::from_fn(|| schedule.next()).map(|(index, _)| index).collect()
}

#[test]
fn inputs_come_first_and_long_rows_before_short_ones() {
    // 0 <- 1 <- 2, and 3 alone.
    let mut schedule = Schedule::new(wanted(&[&[], &[0], &[1], &[]]), true);
    assert_eq!(started(&mut schedule), [0, 3]);
    schedule.ended(0, Outcome::Built);
    assert_eq!(schedule.next(), Some((1, 1)));
    schedule.ended(1, Outcome::Built);
    schedule.ended(3, Outcome::Built);
    assert_eq!(schedule.next(), Some((2, 0)));
    assert!(!schedule.is_idle());
    schedule.ended(2, Outcome::Built);
    assert!(schedule.is_idle());
    let settled = schedule.take_settled();
    let built = |index| (index, Settled::Ended(Outcome::Built));
    assert_eq!(settled, [built(0), built(1), built(3), built(2)]);
    assert_eq!(schedule.take_settled(), []);
}

#[test]
fn what_waits_has_a_blocker_that_does_not() {
    // 3 needs 2 and 1, 2 needs 0; 4 and 5 need each other.
    let graph = wanted(&[&[], &[], &[0], &[2, 1], &[5], &[4]]);
    let mut schedule = Schedule::new(graph, true);
    assert_eq!([0, 1, 2, 3].map(|index| schedule.blocker(index)), [0, 1, 0, 1].map(Some));
    assert_eq!([4, 5].map(|index| schedule.blocker(index)), [None, None], "they wait for ever");
    started(&mut schedule);
    assert_eq!(schedule.blocker(2), Some(0));
    schedule.ended(1, Outcome::Built);
    assert_eq!(schedule.blocker(1), None);
    assert_eq!(schedule.blocker(3), Some(0));
    schedule.ended(0, Outcome::Built);
    assert_eq!(schedule.blocker(3), Some(2));
    assert_eq!(started(&mut schedule), [2]);
    schedule.ended(2, Outcome::Failed);
    assert_eq!(schedule.blocker(3), None, "it will never be built");
}

#[test]
fn a_failure_reaches_all_that_need_it_once_all_is_known() {
    // 4 needs 2 and 3, which need 0 and 1; 5 needs only 1.
    let graph = wanted(&[&[], &[], &[0], &[1], &[2, 3], &[1]]);
    let mut schedule = Schedule::new(graph, true);
    assert_eq!(started(&mut schedule), [1, 0]);
    schedule.ended(0, Outcome::Failed);
    assert_eq!(
        schedule.take_settled(),
        [(0, Settled::Ended(Outcome::Failed)), (2, Settled::InputsFailed(vec![0]))]
    );
    // 1 goes on, although 4 is lost already: what it says may be of use, and 5 needs it.
    schedule.ended(1, Outcome::Built);
    assert_eq!(started(&mut schedule), [3, 5]);
    schedule.ended(3, Outcome::Failed);
    schedule.ended(5, Outcome::Built);
    assert_eq!(
        schedule.take_settled()[1..],
        [
            (3, Settled::Ended(Outcome::Failed)),
            (4, Settled::InputsFailed(vec![0, 3])),
            (5, Settled::Ended(Outcome::Built)),
        ]
    );
    assert!(schedule.is_idle());
}

#[test]
fn without_keep_going_the_first_failure_ends_it() {
    let mut schedule = Schedule::new(wanted(&[&[], &[], &[0], &[]]), false);
    assert_eq!(schedule.next(), Some((0, 1)));
    assert_eq!(schedule.next(), Some((3, 0)));
    schedule.ended(3, Outcome::Failed);
    assert!(schedule.is_stopped());
    assert_eq!(schedule.next(), None);
    assert_eq!(
        schedule.take_settled(),
        [(3, Settled::Ended(Outcome::Failed)), (1, Settled::Stopped), (2, Settled::Stopped)]
    );
    assert!(!schedule.is_idle());
    schedule.ended(0, Outcome::Built);
    assert!(schedule.is_idle());
    assert_eq!(schedule.take_settled(), [(0, Settled::Ended(Outcome::Built))]);
}

#[test]
fn without_keep_going_a_failure_that_is_excused_ends_nothing() {
    let mut nodes = wanted(&[&[], &[], &[0]]);
    nodes[0].is_excused = true;
    let mut schedule = Schedule::new(nodes, false);
    assert_eq!(started(&mut schedule), [0, 1]);
    schedule.ended(0, Outcome::Failed);
    assert!(!schedule.is_stopped());
    schedule.ended(1, Outcome::Failed);
    assert!(schedule.is_stopped());
}

#[test]
fn what_nobody_can_build_is_skipped_with_all_that_only_it_needs() {
    // 1 is foreign and needs 0; 2 needs 1; 3 is fine and shares 4 with 2.
    let mut graph = wanted(&[&[], &[0], &[1, 4], &[4], &[]]);
    graph[1].builders = NOBODY;
    graph[0].wanted = false;
    graph[4].wanted = false;
    let mut schedule = Schedule::new(graph, true);
    let settled = schedule.take_settled();
    assert!(settled.contains(&(1, Settled::NoBuilder(1))), "{settled:?}");
    assert!(settled.contains(&(2, Settled::NoBuilder(1))), "{settled:?}");
    assert_eq!(started(&mut schedule), [4], "0 is needed by nobody");
    schedule.ended(4, Outcome::Built);
    assert_eq!(started(&mut schedule), [3]);
    schedule.ended(3, Outcome::Built);
    assert!(schedule.is_idle());
}

#[test]
fn what_nix_finds_no_builder_for_is_skipped_too() {
    // 2 needs both.
    let mut schedule = Schedule::new(wanted(&[&[], &[], &[0, 1], &[0]]), true);
    assert_eq!(started(&mut schedule), [1, 0]);
    schedule.ended(0, Outcome::NoBuilder);
    assert_eq!(schedule.take_settled(), [(0, Settled::NoBuilder(0)), (3, Settled::NoBuilder(0))]);
    schedule.ended(1, Outcome::Failed);
    // What fails is worse than what is skipped.
    assert_eq!(schedule.take_settled()[1], (2, Settled::InputsFailed(vec![1])));
}

#[test]
fn a_circle_does_not_hang() {
    let schedule = Schedule::new(wanted(&[&[1], &[0]]), true);
    assert!(schedule.is_idle());
}

#[test]
fn ten_thousand_in_a_row_and_side_by_side() {
    let row: Vec<Vec<usize>> =
        (0..10_000).map(|index| if index == 0 { vec![] } else { vec![index - 1] }).collect();
    let row: Vec<&[usize]> = row.iter().map(Vec::as_slice).collect();
    let mut schedule = Schedule::new(wanted(&row), true);
    assert_eq!(started(&mut schedule), [0]);
    schedule.ended(0, Outcome::Failed);
    assert_eq!(schedule.take_settled().len(), 10_000);
    assert!(schedule.is_idle());

    let mut schedule = Schedule::new(wanted(&vec![&[] as &[usize]; 10_000]), true);
    let ready = started(&mut schedule);
    assert_eq!(ready.len(), 10_000);
    for index in ready {
        schedule.ended(index, Outcome::Built);
    }
    assert!(schedule.is_idle());
}
