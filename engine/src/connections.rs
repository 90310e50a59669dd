//! Connections to the store that are opened when they are needed, or just before.

use std::thread::{self, JoinHandle};

use levain_store::{BuildSettings, BuildSettingsError, ConnectError, Connection, Store};

/// The two connections of a run, and what is read beside opening them.
pub(crate) struct Connections {
    /// Looks at the store. Kept to the end: it protects what was chosen from
    /// garbage collection.
    pub(crate) watch: LazyConnection,
    /// Builds.
    pub(crate) builder: LazyConnection,
    /// Nix's own settings.
    pub(crate) settings: LazySettings,
}

impl Connections {
    /// Prepares connections to `store`.
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            watch: LazyConnection::new(store),
            builder: LazyConnection::new(store),
            settings: LazySettings::new(store),
        }
    }

    /// Begins to open both, and to read the settings.
    pub(crate) fn warm(&mut self) {
        self.watch.warm();
        self.builder.warm();
        self.settings.warm();
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

/// Nix's settings, read when they are first needed, or just before.
pub(crate) struct LazySettings {
    store: Store,
    reading: Option<JoinHandle<Result<BuildSettings, BuildSettingsError>>>,
    read: Option<Result<BuildSettings, BuildSettingsError>>,
}

impl LazySettings {
    fn new(store: &Store) -> Self {
        Self { store: store.clone(), reading: None, read: None }
    }

    fn warm(&mut self) {
        if self.read.is_none() && self.reading.is_none() {
            let config = self.store.config().clone();
            self.reading = Some(thread::spawn(move || BuildSettings::read(&config)));
        }
    }

    /// Returns the settings, or why they are not known.
    pub(crate) fn get(&mut self) -> Result<&BuildSettings, &BuildSettingsError> {
        let config = self.store.config();
        let reading = self.reading.take();
        self.read
            .get_or_insert_with(|| match reading.map(JoinHandle::join) {
                Some(Ok(read)) => read,
                Some(Err(_)) | None => BuildSettings::read(config),
            })
            .as_ref()
    }
}
