//! Finds every failing attribute of a flake without asking for each attribute.
//!
//! One question covers all jobs. Only some errors can be caught by an evaluation itself; any other
//! ends it. Then the set of attributes is halved, and halved again, until what fails stands alone:
//! N failing ones among M cost O(N log M) questions. Knows nothing about how a question is asked.
//! Start at [`find_all`].

use std::sync::{Mutex, PoisonError};

use crate::attr_path::AttrPath;

/// How many questions are asked at the same time: each is a process with a heap of its own.
const AT_A_TIME: usize = 2;

/// An answer: an error inside is about the attributes, one outside about asking at all.
pub(super) type Answer<T, Q> =
    Result<Result<T, <Q as Questions>::Failure>, <Q as Questions>::Fatal>;

/// Answers questions about one flake.
pub(super) trait Questions: Sync {
    /// What was found at one attribute path.
    type Found: Send;
    /// The error of one attribute, or of several that were asked for together.
    type Failure: Send;
    /// An error that makes further questions useless.
    type Fatal: Send;

    /// Returns what is at and below these paths, and the paths whose error was caught and whose
    /// message is not known.
    fn walk(&self, paths: &[AttrPath]) -> Answer<(Vec<Self::Found>, Vec<AttrPath>), Self>;

    /// Returns what is at one path, with the error that a caught one hides.
    fn ask(&self, path: &AttrPath) -> Answer<Vec<Self::Found>, Self>;

    /// Returns the names of the attributes inside; none where there is no set to look into.
    fn children(&self, path: &AttrPath) -> Answer<Vec<String>, Self>;

    /// Returns what is found where an attribute fails; `caught` says that an evaluation goes on after
    /// this error.
    fn failed(&self, path: AttrPath, failure: Self::Failure, caught: bool) -> Self::Found;

    /// Returns the error for when even the root cannot be looked at.
    fn hopeless(&self, failure: Self::Failure) -> Self::Fatal;

    /// Returns whether a question costs no process: then what fails together is not halved, but each
    /// attribute asked for.
    fn is_cheap(&self) -> bool {
        false
    }
}

/// What is asked first.
pub(super) enum Start {
    /// What is at and below these paths.
    Walk(Vec<AttrPath>),
    /// The errors of these paths, which are caught.
    Ask(Vec<AttrPath>),
}

/// A question that has to be asked.
enum Step<F> {
    Walk(Vec<AttrPath>),
    Ask(AttrPath),
    /// This path alone fails: is it a job, or does it stand further inside?
    Descend(AttrPath, F),
}

/// What a question led to: things found, and further questions.
type Outcome<Q> = Result<
    (Vec<<Q as Questions>::Found>, Vec<Step<<Q as Questions>::Failure>>),
    <Q as Questions>::Fatal,
>;

/// Returns everything that is found at and below these paths, in no particular order.
pub(super) fn find_all<Q: Questions + ?Sized>(
    questions: &Q,
    start: Start,
) -> Result<Vec<Q::Found>, Q::Fatal> {
    let mut found = Vec::new();
    let mut open = match start {
        Start::Walk(paths) if paths.is_empty() => Vec::new(),
        Start::Walk(paths) => vec![Step::Walk(paths)],
        Start::Ask(paths) => paths.into_iter().map(Step::Ask).collect(),
    };
    while !open.is_empty() {
        for outcome in take_all(questions, open.split_off(0)) {
            let (more_found, more_open) = outcome?;
            found.extend(more_found);
            open.extend(more_open);
        }
    }
    Ok(found)
}

/// Takes steps, some at the same time.
fn take_all<Q: Questions + ?Sized>(questions: &Q, steps: Vec<Step<Q::Failure>>) -> Vec<Outcome<Q>> {
    let threads = steps.len().min(AT_A_TIME);
    let queue = Mutex::new(steps.into_iter());
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                Some(step) => outcomes.push(take(questions, step)),
                None => return outcomes,
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut outcomes = work();
        for other in others {
            outcomes.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        outcomes
    })
}

fn take<Q: Questions + ?Sized>(questions: &Q, step: Step<Q::Failure>) -> Outcome<Q> {
    match step {
        Step::Walk(paths) => match questions.walk(&paths)? {
            Ok((found, caught)) => Ok((found, caught.into_iter().map(Step::Ask).collect())),
            Err(failure) => Ok((Vec::new(), narrow(questions, paths, failure))),
        },
        Step::Ask(path) => match questions.ask(&path)? {
            Ok(found) => Ok((found, Vec::new())),
            Err(failure) => Ok((vec![questions.failed(path, failure, true)], Vec::new())),
        },
        Step::Descend(path, failure) => match questions.children(&path)? {
            Ok(names) if names.is_empty() => {
                Ok((vec![questions.failed(path, failure, false)], Vec::new()))
            }
            Ok(names) => {
                let children = names.into_iter().map(|name| path.child(name)).collect();
                Ok((Vec::new(), narrow(questions, children, failure)))
            }
            Err(failure) if path.is_root() => Err(questions.hopeless(failure)),
            Err(failure) => Ok((vec![questions.failed(path, failure, false)], Vec::new())),
        },
    }
}

/// Returns how to go on with paths that fail together.
fn narrow<Q: Questions + ?Sized>(
    questions: &Q,
    mut paths: Vec<AttrPath>,
    failure: Q::Failure,
) -> Vec<Step<Q::Failure>> {
    if paths.len() > 1 && questions.is_cheap() {
        return paths.into_iter().map(|path| Step::Walk(vec![path])).collect();
    }
    if paths.len() > 1 {
        let second = paths.split_off(paths.len().div_ceil(2));
        return vec![Step::Walk(paths), Step::Walk(second)];
    }
    paths.pop().map(|path| Step::Descend(path, failure)).into_iter().collect()
}

#[cfg(test)]
mod tests;
