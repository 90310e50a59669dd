//! The evaluations of a run: the original commit with the null pointer, and the shadow commit.

use std::time::Instant;

use levain_actions::git::Overlay;
use levain_actions::shadow::ShadowCommit;
use levain_evaluator::evaluate::{Evaluation, Request};
use levain_evaluator::pointer::Pointer;
use levain_evaluator::{EvaluateError, LockedFlakeRef};

use super::{Run, RunError};
use crate::declaration::Mode;
use crate::digest::sha256_hex;
use crate::evaluations::{self, Evaluated};
use crate::pointers::{Entries, print};
use crate::progress::{Progress, Stage};
use crate::project::{Project, ProjectError};
use crate::report::EvaluationReport;
use crate::shadowing::{Mirrored, aside};

impl Run<'_> {
    pub(super) fn request(&self, flake: LockedFlakeRef) -> Request {
        Request {
            flake,
            system: self.surroundings.system.clone(),
            only: None,
            limits: self.project.limits(),
        }
    }

    /// Evaluates the original commit with the null pointer.
    ///
    /// Calls `on_work` first if that takes more than a look at what is remembered.
    pub(super) fn evaluate_base(
        &mut self,
        on_work: &mut dyn FnMut(),
        progress: &mut dyn Progress,
    ) -> Result<Evaluated, RunError> {
        let started = Instant::now();
        let (flake, _overlay) = self.base_flake(progress)?;
        let request = self.request(flake);
        let evaluated = self.evaluate(&request, on_work)?;
        self.seconds.evaluate_base += started.elapsed().as_secs_f64();
        self.record_evaluation(&evaluated, None, started);
        Ok(evaluated)
    }

    fn evaluate(
        &self,
        request: &Request,
        on_work: &mut dyn FnMut(),
    ) -> Result<Evaluated, EvaluateError> {
        let evaluator = self.surroundings.evaluator.as_ref();
        let dir = self.surroundings.store.dir().as_str();
        evaluations::evaluate(evaluator, dir, request, &self.project.state, on_work)
    }

    fn record_evaluation(
        &mut self,
        evaluated: &Evaluated,
        pointer: Option<String>,
        started: Instant,
    ) {
        self.evaluations.push(EvaluationReport {
            flake: evaluated.remembered.evaluation.flake.to_string(),
            pointer,
            memoized: evaluated.memoized,
            seconds: started.elapsed().as_secs_f64(),
        });
    }

    /// Returns the original commit as a flake whose cache pointer is null.
    ///
    /// That is the commit itself, unless its author committed a pointer.
    fn base_flake(
        &mut self,
        progress: &mut dyn Progress,
    ) -> Result<(LockedFlakeRef, Option<Overlay>), RunError> {
        let repository = &self.project.repository;
        let own = Project::flake(repository, &self.head.reference, self.head.commit);
        if self.mode == Mode::Off {
            return Ok((own, None));
        }
        let name = self.project.layout.files.pointer();
        let text = repository.file(self.head.commit, name).map_err(ProjectError::from)?;
        let Some(text) = text else { return Ok((own, None)) };
        match Pointer::parse(self.surroundings.store.dir(), &text) {
            Ok(Pointer::Null) => Ok((own, None)),
            Ok(Pointer::Path(_) | Pointer::Entries(_)) => {
                self.notice(
                    progress,
                    format!(
                        "cache pointer rejected: commit {} itself carries one in `{name}`, which should be `null`; it is evaluated as null",
                        self.head.commit.short()
                    ),
                );
                let commit = ShadowCommit {
                    previous: None,
                    original: self.head.commit,
                    pointer: b"null\n",
                    message: "levain: the null pointer\n",
                };
                let reference = "refs/levain-base/null";
                let (overlay, id) = aside(repository, &commit, &self.project.layout, reference)?;
                Ok((Project::flake(&overlay.repository, reference, id), Some(overlay)))
            }
            Err(error) => {
                self.mode = Mode::Off;
                self.notice(
                    progress,
                    format!(
                        "incremental mode is off for this run: `{name}` of commit {} is no cache pointer ({error}); make it `null`, or choose another name with `levainProject.files.pointer`",
                        self.head.commit.short()
                    ),
                );
                Ok((own, None))
            }
        }
    }

    /// Evaluates the shadow commit.
    pub(super) fn evaluate_shadow(
        &mut self,
        mirrored: &Mirrored,
        entries: &Entries,
        progress: &mut dyn Progress,
    ) -> Result<Evaluation, RunError> {
        progress.stage(Stage::EvaluateShadow);
        let started = Instant::now();
        let request = self.request(mirrored.flake.clone());
        let evaluated = self.evaluate(&request, &mut || {})?;
        self.seconds.evaluate_shadow += started.elapsed().as_secs_f64();
        let pointer = print(self.surroundings.store.dir(), entries);
        self.record_evaluation(&evaluated, Some(sha256_hex(pointer.as_bytes())), started);
        Ok(evaluated.remembered.evaluation)
    }
}
