//! Records in files below the git directory: a file for each base derivation, mark, key and evaluation.

use std::collections::{BTreeMap, BTreeSet};

use levain_evaluator::key::{Key, KeyDocument};
use levain_evaluator::{JobName, JobsetName};
use levain_store::DerivationPath;

use super::{Mark, NewSuccess, Records, RecordsError, Remembered, Successes};
use crate::state::{Kind, State, StateWriter};

impl Records for State {
    fn successes(
        &self,
        bases: &BTreeSet<DerivationPath>,
    ) -> Result<BTreeMap<DerivationPath, Successes>, RecordsError> {
        let known = |base: &DerivationPath| Some((base.clone(), read(self, &base.to_string())?));
        Ok(bases.iter().filter_map(known).collect())
    }

    fn add_success(&self, writer: &StateWriter, new: &NewSuccess<'_>) -> Result<(), RecordsError> {
        if let Some(document) = new.key {
            writer.store(Kind::Keys, document.key().as_str(), document)?;
        }
        let name = new.base.to_string();
        let _turn = writer.lent().records();
        let mut successes = read(writer.state(), &name).unwrap_or_default();
        successes.add(new.maker, new.success.clone());
        Ok(writer.store(Kind::Successes, &name, &successes)?)
    }

    fn forget_incremental(
        &self,
        writer: &StateWriter,
        jobset: Option<&JobsetName>,
        job: Option<&JobName>,
    ) -> Result<usize, RecordsError> {
        let _turn = writer.lent().records();
        let mut forgotten = 0;
        for (name, mut successes) in writer.state().load_all::<Successes>(Kind::Successes) {
            let Some(removed) = successes.forget(jobset, job) else { continue };
            forgotten += removed;
            if successes.is_empty() {
                writer.forget(Kind::Successes, &name)?;
            } else {
                writer.store(Kind::Successes, &name, &successes)?;
            }
        }
        Ok(forgotten)
    }

    fn marks(&self) -> Result<Vec<Mark>, RecordsError> {
        Ok(self.load_all(Kind::Dropped).into_iter().map(|(_, mark)| mark).collect())
    }

    fn mark(&self, writer: &StateWriter, mark: &Mark) -> Result<(), RecordsError> {
        let name = mark.name();
        let _turn = writer.lent().records();
        let before: Option<Mark> = writer.state().load(Kind::Dropped, &name);
        if before.is_some_and(|before| before.reaches(mark)) {
            return Ok(());
        }
        Ok(writer.store(Kind::Dropped, &name, mark)?)
    }

    fn allow(&self, writer: &StateWriter, job: &JobName) -> Result<bool, RecordsError> {
        let _turn = writer.lent().records();
        let mut was_off = false;
        for (name, mark) in writer.state().load_all::<Mark>(Kind::Dropped) {
            if mark.turns_off(job) {
                writer.forget(Kind::Dropped, &name)?;
                was_off = true;
            }
        }
        Ok(was_off)
    }

    fn keys(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, KeyDocument>, RecordsError> {
        let known = |key: &Key| Some((key.clone(), self.load(Kind::Keys, key.as_str())?));
        Ok(keys.iter().filter_map(known).collect())
    }

    fn evaluation(&self, id: &str) -> Result<Option<Remembered>, RecordsError> {
        Ok(self.load(Kind::Evaluations, id))
    }

    fn remember_evaluation(
        &self,
        writer: &StateWriter,
        id: &str,
        remembered: &Remembered,
    ) -> Result<(), RecordsError> {
        Ok(writer.store(Kind::Evaluations, id, remembered)?)
    }
}

/// Returns the successes in the file of that name, unless another version wrote it.
fn read(state: &State, name: &str) -> Option<Successes> {
    state.load::<Successes>(Kind::Successes, name).filter(Successes::is_current)
}
