//! Named places in the server at which tests end it: those where a kill could lose or double something.
//!
//! The product does nothing there. A test opens its database with [`Points::calling`] and is called at each; see
//! `server/tests/kill`.

use std::sync::Arc;

/// A place in the server. Those with "in the transaction" are passed before it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// The database's file is there, or the connection.
    DatabaseConnected,
    /// The tables are up to date.
    DatabaseMigrated,
    /// The database is open.
    DatabaseOpened,
    /// Work is taken from those who wait, and nothing is begun.
    BatchTaken,
    /// The transaction is begun.
    BatchBegun,
    /// Some of the work is done, in the transaction.
    BatchGrown,
    /// All of the work is done, in the transaction.
    BatchDone,
    /// The transaction is committed, and nobody knows.
    BatchCommitted,
    /// Everybody knows.
    BatchTold,
    /// A delivery was received and is signed well.
    DeliveryReceived,
    /// A delivery is a row, in the transaction.
    DeliveryInserted,
    /// Another of the same key is counted, in the transaction.
    DeliveryCounted,
    /// A delivery is kept, and not acknowledged.
    DeliveryKept,
    /// A server is about to take over what another left.
    ServingBegins,
    /// A run was read whose server is gone, as far as was written then, in the transaction.
    LostRunFound,
    /// A run of a server that is gone waits again or ended, in the transaction.
    LostRunTaken,
    /// All such runs wait again or ended.
    LostRunsTaken,
    /// The loops are at work.
    ServingBegun,
    /// Deliveries of a project were read, and nothing is noted about them.
    DeliveriesRead,
    /// Those that call for nothing are settled.
    IgnoredSettled,
    /// A project's heads are about to be listed.
    ListingBegins,
    /// They are listed.
    ListingDone,
    /// The listing is counted, in the transaction.
    NoteBegun,
    /// The older runs of a jobset ended, in the transaction.
    OlderRunsEnded,
    /// A jobset's head is noted, in the transaction.
    HeadNoted,
    /// A run is queued, in the transaction.
    RunQueued,
    /// A jobset that is gone is forgotten, in the transaction.
    HeadForgotten,
    /// All heads are noted, and the deliveries that led there still wait.
    HeadsNoted,
    /// What became of a delivery is noted, in the transaction.
    DeliverySettled,
    /// What became of all of them is noted.
    DeliveriesSettled,
    /// The end of a look is noted.
    LookNoted,
    /// A run is somebody's, in the transaction.
    RunTaken,
    /// A run is claimed, and nobody works on it.
    RunClaimed,
    /// Somebody works on a run.
    RunBegun,
    /// A lease is renewed, in the transaction.
    LeaseRenewed,
    /// A run has a result, and nobody knows.
    RunCarriedOut,
    /// The end of a run is noted, in the transaction.
    RunEnding,
    /// The end of a run is noted.
    RunEnded,
    /// A run is about to be given back.
    GivingBack,
    /// A run waits again, in the transaction.
    RunGivenBack,
    /// A run was given back.
    GaveBack,
    /// A run waits until it is tried again, or ended because of what is away, in the transaction.
    RunPutOff,
    /// A job's success is a row, in the transaction.
    SuccessRecorded,
    /// A job's success is recorded, and no pointer names its cache.
    SuccessKept,
    /// Old deliveries are deleted, in the transaction.
    DeliveriesDeleted,
    /// Old deliveries are forgotten.
    CleanedUp,
    /// The server is told to end.
    EndAsked,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 47] = [
        Self::DatabaseConnected,
        Self::DatabaseMigrated,
        Self::DatabaseOpened,
        Self::BatchTaken,
        Self::BatchBegun,
        Self::BatchGrown,
        Self::BatchDone,
        Self::BatchCommitted,
        Self::BatchTold,
        Self::DeliveryReceived,
        Self::DeliveryInserted,
        Self::DeliveryCounted,
        Self::DeliveryKept,
        Self::ServingBegins,
        Self::LostRunFound,
        Self::LostRunTaken,
        Self::LostRunsTaken,
        Self::ServingBegun,
        Self::DeliveriesRead,
        Self::IgnoredSettled,
        Self::ListingBegins,
        Self::ListingDone,
        Self::NoteBegun,
        Self::OlderRunsEnded,
        Self::HeadNoted,
        Self::RunQueued,
        Self::HeadForgotten,
        Self::HeadsNoted,
        Self::DeliverySettled,
        Self::DeliveriesSettled,
        Self::LookNoted,
        Self::RunTaken,
        Self::RunClaimed,
        Self::RunBegun,
        Self::LeaseRenewed,
        Self::RunCarriedOut,
        Self::RunEnding,
        Self::RunEnded,
        Self::GivingBack,
        Self::RunGivenBack,
        Self::GaveBack,
        Self::RunPutOff,
        Self::SuccessRecorded,
        Self::SuccessKept,
        Self::DeliveriesDeleted,
        Self::CleanedUp,
        Self::EndAsked,
    ];
}

/// What is called at each point. Clones share it.
#[derive(Clone, Default)]
pub struct Points(Option<Arc<dyn Fn(Point) + Send + Sync>>);

impl Points {
    /// Returns what calls a function at each point. The server waits for it.
    pub fn calling(function: impl Fn(Point) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(function)))
    }

    /// Says that a point is reached.
    pub(crate) fn pass(&self, point: Point) {
        if let Some(function) = &self.0 {
            function(point);
        }
    }
}
