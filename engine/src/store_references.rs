//! What store objects refer to, asked of the Nix that keeps the store, for the embedded evaluator.
//!
//! Most evaluations never ask, so the first question opens the connection.

use std::cell::RefCell;

use levain_evaluator::lang::io::IoError;
use levain_evaluator::outside::References;
use levain_store::{Connection, Store};

/// The references of store objects.
pub struct StoreReferences {
    store: Store,
    connection: RefCell<Option<Connection>>,
}

impl StoreReferences {
    /// Makes the answers of a store; nothing is opened yet.
    pub fn new(store: Store) -> Self {
        Self { store, connection: RefCell::default() }
    }
}

impl References for StoreReferences {
    fn references(&self, path: &str) -> Result<Option<Vec<String>>, IoError> {
        let Ok(object) = self.store.dir().parse(path) else { return Ok(None) };
        let failed = |message: String| IoError::Unavailable {
            what: format!("find out what `{path}` refers to"),
            reason: message,
        };
        let mut connection = self.connection.borrow_mut();
        let connection = match &mut *connection {
            Some(connection) => connection,
            none => none.insert(self.store.connect().map_err(|error| failed(error.to_string()))?),
        };
        let info = connection.path_info(&object).map_err(|error| failed(error.to_string()))?;
        Ok(info.map(|info| {
            info.references.iter().map(|path| self.store.dir().display(path)).collect()
        }))
    }
}
