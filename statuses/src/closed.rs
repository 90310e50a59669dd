//! Which pull requests are over, as their forge says.
//!
//! Their heads do not tell: many forges keep the refs of closed pull requests for ever.

use std::cell::Cell;
use std::time::Duration;

use levain_actions::forge::Questions;
use tokio::runtime::Handle;

/// How many questions one run asks. Others have their turn in the next.
const MOST: u32 = 8;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks whether pull requests are over.
#[derive(Debug)]
pub struct Closed {
    questions: Option<Questions>,
    runtime: Handle,
    left: Cell<u32>,
}

impl Closed {
    /// Prepares to ask; without questions everything counts as open.
    pub fn new(questions: Option<Questions>, runtime: Handle) -> Self {
        Self { questions, runtime, left: Cell::new(MOST) }
    }

    /// Returns whether the forge says that a pull request is closed or merged.
    ///
    /// A forge that does not answer is not asked again.
    pub fn is_over(&self, number: u64) -> bool {
        let (Some(questions), Some(left)) = (&self.questions, self.left.get().checked_sub(1))
        else {
            return false;
        };
        self.left.set(left);
        // Made inside, where there is a clock.
        let asking = async { tokio::time::timeout(PATIENCE, questions.is_over(number)).await };
        match self.runtime.block_on(asking) {
            Ok(Ok(over)) => over,
            Ok(Err(error)) => {
                tracing::info!(%error, "cannot ask whether a pull request is over");
                self.left.set(0);
                false
            }
            Err(_elapsed) => {
                tracing::info!(number, "the forge does not say in time whether it is over");
                self.left.set(0);
                false
            }
        }
    }
}
