//! Connections to the store that are opened when they are needed, or just before.

use std::thread::{self, JoinHandle};

use levain_store::{ConnectError, Connection, Store};

/// The two connections of a run.
pub(crate) struct Connections {
    /// Looks at the store. Kept to the end: it protects what was chosen from
    /// garbage collection.
    pub(crate) watch: LazyConnection,
    /// Builds.
    pub(crate) builder: LazyConnection,
}

impl Connections {
    /// Prepares connections to `store`.
    pub(crate) fn new(store: &Store) -> Self {
        Self { watch: LazyConnection::new(store), builder: LazyConnection::new(store) }
    }

    /// Begins to open both.
    pub(crate) fn warm(&mut self) {
        self.watch.warm();
        self.builder.warm();
    }
}

/// A connection that is opened when it is first needed: if every job is known
/// to be fresh, none is.
///
/// Opening one takes a process to start. Where it is likely to be needed soon,
/// [`LazyConnection::warm`] has that happen beside other work.
pub(crate) struct LazyConnection {
    store: Store,
    open: Option<Connection>,
    opening: Option<JoinHandle<Result<Connection, ConnectError>>>,
}

impl LazyConnection {
    /// Prepares a connection to `store`.
    pub(crate) fn new(store: &Store) -> Self {
        Self { store: store.clone(), open: None, opening: None }
    }

    /// Begins to open the connection.
    pub(crate) fn warm(&mut self) {
        if self.open.is_none() && self.opening.is_none() {
            let store = self.store.clone();
            self.opening = Some(thread::spawn(move || store.connect()));
        }
    }

    /// Returns the connection.
    pub(crate) fn get(&mut self) -> Result<&mut Connection, ConnectError> {
        let connection = self.take()?;
        Ok(self.open.insert(connection))
    }

    /// Gives the connection away; the next one is opened anew.
    pub(crate) fn take(&mut self) -> Result<Connection, ConnectError> {
        if let Some(connection) = self.open.take() {
            return Ok(connection);
        }
        match self.opening.take().map(JoinHandle::join) {
            Some(Ok(opened)) => opened,
            // It did not even fail in order; trying again tells why.
            Some(Err(_)) | None => self.store.connect(),
        }
    }
}
