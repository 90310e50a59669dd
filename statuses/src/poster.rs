//! Sends a run's statuses to the forge, beside the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use levain_actions::forge::{ForgeConfig, ForgeError, Masks, Questions, Token};
use levain_actions::status::{Outbox, RetryPolicy, StatusClient, StatusSink, TextsError};
use levain_engine::cancel::Cancel;
use levain_engine::event::Event;
use levain_engine::report::{Undelivered, UndeliveredKind};
use levain_engine::statuses::StatusPlan;
use tokio::runtime::Handle;

use crate::closed::Closed;
use crate::memory::Memory;
use crate::wording::Wording;

/// How long a run that is being stopped may take to tell the forge so.
const PARTING: Duration = Duration::from_secs(1);

/// What statuses are sent with.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The secret for the forge.
    pub token: Token,
    /// How patiently.
    pub retries: RetryPolicy,
    /// Certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why statuses cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PosterError {
    /// The forge part of the declaration.
    #[error("the declaration is wrong at `levainProject.forge`: {0}")]
    Forge(#[from] ForgeError),
    /// The texts of the declaration.
    #[error("the declaration is wrong at `levainProject.status`: {0}")]
    Texts(#[from] TextsError),
}

/// Tells the forge, on the original commit, how the jobs of one run fare.
#[derive(Debug)]
pub struct Poster {
    outbox: Outbox,
    closed: Closed,
    wording: Wording,
    memory: Option<Memory>,
    runtime: Handle,
}

impl Poster {
    /// Prepares to tell the forge of `plan`. What it is told is remembered in `memory` from run to run.
    ///
    /// Without `sending`, or without a forge in the plan, nothing is ever sent.
    pub fn new(
        plan: &StatusPlan,
        sending: Option<&Sending>,
        memory: &Path,
        runtime: &Handle,
    ) -> Result<Self, PosterError> {
        let masks = Masks::new(sending.map(|sending| &sending.token));
        let wording = Wording::new(plan.clone(), masks)?;
        let poster = Self {
            outbox: Outbox::new(StatusSink::Nowhere, runtime.clone()),
            closed: Closed::new(None, runtime.clone()),
            wording,
            memory: None,
            runtime: runtime.clone(),
        };
        let (Some(Sending { token, retries, ca_file }), Some(forge)) = (sending, &plan.forge)
        else {
            return Ok(poster);
        };
        let config = ForgeConfig { ca_file: ca_file.clone(), ..forge.clone() };
        let client = StatusClient::new(&config, token.clone(), retries.clone())?;
        let at = format!("{} {}", config.api_url.as_deref().unwrap_or("-"), config.repository);
        let (memory, posted) = Memory::open(memory, plan.commit, at);
        let questions = Questions::new(&config, token.clone())?;
        let sink = StatusSink::Forge(Box::new(client));
        Ok(Self {
            outbox: Outbox::new(sink, runtime.clone()).knowing(posted),
            closed: Closed::new(Some(questions), runtime.clone()),
            memory: Some(memory),
            ..poster
        })
    }

    /// Takes note of something that happened, and tells the forge if it should know. Never waits.
    pub fn hear(&self, event: &Event) {
        // Wording a thousand statuses for nobody would cost more than everything else.
        if !self.outbox.sends() {
            return;
        }
        let Some((status, weight)) = self.wording.of(&event.what) else { return };
        if !self.outbox.is_news(&status, weight) {
            return;
        }
        if let Some(memory) = &self.memory {
            memory.forget();
        }
        self.outbox.post(status);
    }

    /// Returns whether the forge says that a pull request is closed or merged. Waits for its answer.
    pub fn is_over(&self, number: u64) -> bool {
        self.closed.is_over(number)
    }

    /// Waits until everything is sent, but not for ever; returns what could not be delivered.
    pub fn finish(&self, limit: Duration, cancel: &Cancel) -> Vec<Undelivered> {
        self.runtime.block_on(self.flush(limit, cancel))
    }

    async fn flush(&self, limit: Duration, cancel: &Cancel) -> Vec<Undelivered> {
        let stopped = async {
            cancel.cancelled().await;
            tokio::time::sleep(PARTING).await;
        };
        tokio::select! {
            () = self.outbox.drained() => {}
            () = tokio::time::sleep(limit) => {}
            () = stopped => {}
        }
        let undelivered = self.outbox.close();
        if let Some(memory) = &self.memory {
            memory.keep(self.outbox.posted());
        }
        undelivered
            .into_iter()
            .map(|undelivered| Undelivered {
                kind: UndeliveredKind::Status,
                subject: undelivered.status.context().to_owned(),
                error: undelivered.error.to_string(),
            })
            .collect()
    }
}
