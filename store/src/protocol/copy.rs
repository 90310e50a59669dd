//! What is added to the store: a content-addressed copy of a store object, or a derivation.
//!
//! Such a copy verifies itself, needs no signature, has no deriver that would keep older objects
//! alive, and equal content gives the equal path.

use super::connection::Connection;
use super::error::ProtocolError;
use super::operations::{PathInfo, log};
use super::wire::{FramedWriter, Message};
use crate::content_address::{content_address, make_source_path};
use crate::derivation::Derivation;
use crate::hash::{HashingWriter, NarHash};
use crate::nar::{self, NarError};
use crate::store::Store;
use crate::store_path::{DerivationPath, StorePath, StorePathError};

const ADD_TO_STORE: u64 = 7;

/// A copy, and what the store records about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Where the copy is.
    pub path: StorePath,
    /// What the store records about it.
    pub info: PathInfo,
}

/// An object that could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Nix versions disagree on the hash of a content-addressed object that refers to itself.
    #[error(
        "`{path}` refers to itself, so it cannot be content-addressed\nhint: keep its own path out of the output, for instance by compressing it"
    )]
    SelfReference {
        /// The object.
        path: StorePath,
    },
    /// The object is not in the store.
    #[error("`{path}` is not valid in the store")]
    Missing {
        /// The object.
        path: StorePath,
    },
    /// The files are not those that were registered.
    #[error(
        "`{path}` has the hash `{found}` on disk, but `{recorded}` in the store\nhint: check it with `nix-store --verify-path`"
    )]
    Corrupt {
        /// The object.
        path: StorePath,
        /// What the store recorded.
        recorded: NarHash,
        /// What the files have.
        found: NarHash,
    },
    /// Nix put the copy elsewhere than its content says.
    #[error("the copy should be `{expected}`, but the Nix daemon says `{found}`")]
    Elsewhere {
        /// Where the copy should be.
        expected: StorePath,
        /// Where it is said to be.
        found: StorePath,
    },
    /// The copy cannot have the object's name.
    #[error(transparent)]
    Name(#[from] StorePathError),
    /// The files could not be read, or not sent.
    #[error(transparent)]
    Nar(#[from] NarError),
    /// The daemon did not answer, or refused.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl Connection {
    /// Makes a content-addressed copy of `source`, with its name and references.
    ///
    /// Nothing is sent if the copy is there already. The copy is protected from the garbage
    /// collector until the connection ends.
    pub fn copy_content_addressed(
        &mut self,
        store: &Store,
        source: &StorePath,
    ) -> Result<Copied, CopyError> {
        let info = self.path_info(source)?;
        let info = info.ok_or_else(|| CopyError::Missing { path: source.clone() })?;
        if info.references.contains(source) {
            return Err(CopyError::SelfReference { path: source.clone() });
        }
        let expected =
            make_source_path(&self.dir, source.name(), &info.nar_hash, &info.references)?;
        // First the root, then the question: so the answer stays true.
        self.add_temp_root(&expected)?;
        let copied = match self.path_info(&expected)? {
            Some(info) => Copied { path: expected.clone(), info },
            None => self.send_copy(store, source, &info)?,
        };
        let addressed = copied.info.content_address == Some(content_address(&info.nar_hash));
        if copied.path != expected || copied.info.nar_hash != info.nar_hash || !addressed {
            return Err(CopyError::Elsewhere { expected, found: copied.path });
        }
        Ok(copied)
    }

    /// Adds the file of a derivation, whose path and text follow from it.
    ///
    /// It is protected from the garbage collector until the connection ends.
    pub(crate) fn add_derivation(
        &mut self,
        path: &DerivationPath,
        derivation: &Derivation,
        text: &[u8],
    ) -> Result<(), ProtocolError> {
        let inputs = derivation.input_derivations.keys().map(AsRef::as_ref);
        let references: Vec<String> = derivation
            .input_sources
            .iter()
            .chain(inputs)
            .map(|reference| self.dir.display(reference))
            .collect();
        let mut message = Message::default();
        message
            .u64(ADD_TO_STORE)
            .text(&format!("{}.drv", path.name()))
            .text("text:sha256")
            .texts(references.into_iter())
            .u64(0); // no repair
        let added = self.guard(|connection| {
            let mut sink = connection.sink();
            std::io::Write::write_all(&mut sink, &message.0)?;
            let mut body = FramedWriter::new(sink);
            std::io::Write::write_all(&mut body, text)?;
            body.finish()?;
            connection.drain(&mut log)?;
            let mut answer = connection.answer();
            let added = answer.store_path()?;
            answer.path_info()?;
            Ok(added)
        })?;
        if added == *path.as_store_path() {
            return Ok(());
        }
        Err(ProtocolError::text("derivation", &self.dir.display(&added)))
    }

    fn send_copy(
        &mut self,
        store: &Store,
        source: &StorePath,
        info: &PathInfo,
    ) -> Result<Copied, CopyError> {
        let mut message = Message::default();
        let references = info.references.iter().map(|path| self.dir.display(path));
        message
            .u64(ADD_TO_STORE)
            .text(source.name())
            .text("fixed:r:sha256")
            .texts(references.collect::<Vec<_>>().into_iter())
            .u64(0); // no repair
        let mut sent = Ok(());
        let answer = self.guard(|connection| {
            let mut sink = connection.sink();
            std::io::Write::write_all(&mut sink, &message.0)?;
            let mut body = HashingWriter::new(FramedWriter::new(sink));
            let dumped = nar::dump(&store.real_path(source), &mut body);
            let (body, found, _) = body.finish();
            sent = dumped.map_err(CopyError::Nar).and_then(|()| {
                let (path, recorded) = (source.clone(), info.nar_hash);
                let same = found == recorded;
                if same { Ok(()) } else { Err(CopyError::Corrupt { path, recorded, found }) }
            });
            // An archive that broke off is ended too: the daemon then refuses it, and the connection
            // stays usable.
            body.finish()?;
            connection.drain(&mut log)?;
            let mut answer = connection.answer();
            Ok(Copied { path: answer.store_path()?, info: answer.path_info()? })
        });
        match (sent, answer) {
            // The stream ended first: that, not the archive, is the fault.
            (Err(CopyError::Nar(NarError::Write(_))), Err(error)) => Err(error.into()),
            (Err(error), _) => Err(error),
            (Ok(()), answer) => Ok(answer?),
        }
    }
}
