//! Signatures of pointer entries: which caches a build made that this levain may believe in.
//!
//! Whoever can write a shadow ref can write any text there, so an entry counts only if a levain
//! signed it that recorded the success. Each repository's state has a key of its own; other keys
//! are trusted by name. The keys have the form of Nix's (`NAME:BASE64`), and Nix can make them.
//! Not here: whether a jobset trusts the one that made an entry ([`crate::jobset`]).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::{BASE64, HEXLOWER};
use levain_evaluator::pointer::{Entry, Maker};
use levain_evaluator::{JobName, JobsetName};
use levain_store::StoreDir;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// First line of what is signed. Nothing else that Nix or levain signs begins so.
const HEAD: &str = "levain cache entry 1\n";

const SEED: usize = 32;

/// A key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// Its file cannot be read or written.
    #[error("cannot {action} the signing key `{}`: {source}\nhint: only the user who runs levain needs access to it", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is no key. The text is not repeated: it may be a secret.
    #[error(
        "the {kind} key from {origin} is not of the form `NAME:BASE64` with {bytes} bytes\nhint: `nix-store --generate-binary-cache-key NAME SECRET-FILE PUBLIC-FILE` makes a pair of keys"
    )]
    Malformed {
        /// `secret` or `public`.
        kind: &'static str,
        /// Where it was found.
        origin: String,
        /// How many bytes it should have.
        bytes: usize,
    },
    /// There is no randomness to make one from.
    #[error("cannot make a signing key: the system gives no random numbers")]
    Random,
}

/// A public key, written `NAME:BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    bytes: [u8; 32],
}

impl FromStr for PublicKey {
    type Err = SigningError;

    fn from_str(text: &str) -> Result<Self, SigningError> {
        let malformed = || SigningError::Malformed {
            kind: "public",
            origin: format!("`{}`", text.escape_debug().take(80).collect::<String>()),
            bytes: 32,
        };
        let (name, bytes) = named_bytes(text).ok_or_else(malformed)?;
        Ok(Self { name, bytes: bytes.try_into().map_err(|_bytes: Vec<u8>| malformed())? })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, BASE64.encode(&self.bytes))
    }
}

/// Reads `NAME:BASE64`.
fn named_bytes(text: &str) -> Option<(String, Vec<u8>)> {
    let (name, encoded) = text.split_once(':')?;
    let is_name = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    Some((name.to_owned(), BASE64.decode(encoded.as_bytes()).ok()?))
}

/// A secret key. It has no `Display`, and its `Debug` shows only the public one.
pub struct SigningKey {
    public: PublicKey,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

impl SigningKey {
    /// Reads `NAME:BASE64` of seed and public key, as Nix writes it; `origin` says where it stood.
    pub fn parse(text: &str, origin: &str) -> Result<Self, SigningError> {
        let malformed =
            || SigningError::Malformed { kind: "secret", origin: origin.to_owned(), bytes: 64 };
        let (name, bytes) = named_bytes(text.trim_end()).ok_or_else(malformed)?;
        let (seed, public) = bytes.split_at_checked(SEED).ok_or_else(malformed)?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public)
            .map_err(|_rejected| malformed())?;
        let bytes: [u8; 32] =
            public.try_into().map_err(|_length: std::array::TryFromSliceError| malformed())?;
        Ok(Self { public: PublicKey { name, bytes }, pair })
    }

    /// Reads a file that holds nothing else.
    pub fn from_file(path: &Path) -> Result<Self, SigningError> {
        let text = fs::read_to_string(path).map_err(|source| SigningError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &format!("`{}`", path.display()))
    }

    /// Reads the key at `path`, if there is one.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>, SigningError> {
        match Self::from_file(path) {
            Err(SigningError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// Makes a key at `path`, which only the owner can read. Whoever looks sees all of it or nothing.
    pub(crate) fn make(path: &Path) -> Result<Self, SigningError> {
        let mut seed = [0; SEED];
        SystemRandom::new().fill(&mut seed).map_err(|_unspecified| SigningError::Random)?;
        let pair =
            Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_rejected| SigningError::Random)?;
        let public = pair.public_key().as_ref();
        // The name tells keys apart in messages; what is trusted are the bytes.
        let name = format!("levain-{}", HEXLOWER.encode(&public[..4]));
        let text = format!("{name}:{}\n", BASE64.encode(&[&seed, public].concat()));
        let failed = |source| SigningError::File { action: "write", path: path.to_owned(), source };
        // A temporary file has mode 0600 from its first moment.
        let mut file =
            NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(path).map_err(|error| failed(error.error))?;
        Self::from_file(path)
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

/// Why an entry is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Nobody signed it.
    #[error("the entry is not signed")]
    Unsigned,
    /// Signed by someone whose key is not trusted.
    #[error(
        "signed by `{name}`, whose key is not trusted here: if it is one of yours, add what `levain cache key` prints there to `levainProject.incremental.trustedKeys`"
    )]
    UnknownKey {
        /// What the signature calls the key.
        name: String,
    },
    /// The entry is not what was signed.
    #[error(
        "the signature of `{name}` does not fit: the entry was changed, or made for another project"
    )]
    Changed {
        /// The key.
        name: String,
    },
}

/// Signs the entries of one project, and knows whose signatures count.
#[derive(Debug)]
pub struct Keyring {
    project: String,
    /// What the project was called before, by the own key alone.
    before: Option<String>,
    own: Option<Arc<SigningKey>>,
    trusted: Vec<PublicKey>,
    /// Answers by hash of question: most shadow commits repeat the entries of others.
    known: Mutex<BTreeMap<[u8; 32], bool>>,
}

impl Keyring {
    /// Makes the keyring of `project`. `own` signs and is trusted, `trusted` are others.
    pub fn new(project: String, own: Option<Arc<SigningKey>>, trusted: Vec<PublicKey>) -> Self {
        Self { project, before: None, own, trusted, known: Mutex::default() }
    }

    /// Lets entries count, too, that the own key signed for a project called `name`. Only for a key
    /// that serves no other project.
    pub fn also_called(self, name: &str) -> Self {
        Self { before: Some(name.to_owned()), ..self }
    }

    /// Returns the public key of what this levain signs.
    pub fn own(&self) -> Option<&PublicKey> {
        self.own.as_ref().map(|own| own.public())
    }

    /// Says whether others may use what this levain signs: its key is listed, or none is.
    pub(crate) fn is_of_use(&self) -> bool {
        let own = self.own();
        self.trusted.is_empty() || self.trusted.iter().any(|key| Some(key) == own)
    }

    /// Returns `entry`, signed as made by `job` of `jobset`; without a key nobody's.
    pub(crate) fn sign(
        &self,
        dir: &StoreDir,
        entry: Entry,
        jobset: JobsetName,
        job: JobName,
    ) -> Entry {
        let maker = self.own.as_ref().map(|own| {
            let statement = statement(&self.project, dir, &entry, &jobset, &job);
            let signature = own.pair.sign(&statement);
            let signature = BASE64.encode(signature.as_ref());
            Maker { jobset, job, signature: format!("{}:{signature}", own.public.name) }
        });
        Entry { maker, ..entry }
    }

    /// Says whether a trusted key signed all that `entry` says, for this project.
    pub(crate) fn verify(&self, dir: &StoreDir, entry: &Entry) -> Result<(), Distrust> {
        self.verify_with(dir, entry, &|_| true)
    }

    /// Says whether this levain itself signed `entry`.
    pub(crate) fn is_own(&self, dir: &StoreDir, entry: &Entry) -> bool {
        let own = self.own();
        self.verify_with(dir, entry, &|key| Some(key) == own).is_ok()
    }

    fn verify_with(
        &self,
        dir: &StoreDir,
        entry: &Entry,
        counts: &dyn Fn(&PublicKey) -> bool,
    ) -> Result<(), Distrust> {
        let Some(maker) = &entry.maker else { return Err(Distrust::Unsigned) };
        let named = maker.signature.split_once(':');
        let Some((name, signature)) = named else { return Err(Distrust::Unsigned) };
        let mut keys = self
            .own()
            .into_iter()
            .chain(&self.trusted)
            .filter(|key| key.name == name && counts(key))
            .peekable();
        if keys.peek().is_none() {
            // It comes from outside and goes into a message.
            let name = name.escape_debug().take(80).collect();
            return Err(Distrust::UnknownKey { name });
        }
        let changed = || Distrust::Changed { name: name.to_owned() };
        let signature = BASE64.decode(signature.as_bytes()).map_err(|_error| changed())?;
        let fits = |key: &PublicKey, project: &str| {
            let statement = statement(project, dir, entry, &maker.jobset, &maker.job);
            self.fits(key, &statement, &signature)
        };
        let did_before = |key: &PublicKey| {
            Some(key) == self.own() && self.before.as_ref().is_some_and(|name| fits(key, name))
        };
        if keys.any(|key| fits(key, &self.project) || did_before(key)) {
            Ok(())
        } else {
            Err(changed())
        }
    }

    fn fits(&self, key: &PublicKey, statement: &[u8], signature: &[u8]) -> bool {
        let question: [u8; 32] = Sha256::new()
            .chain_update(key.bytes)
            .chain_update((signature.len() as u64).to_le_bytes())
            .chain_update(signature)
            .chain_update(statement)
            .finalize()
            .into();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(question).or_insert_with(|| {
            UnparsedPublicKey::new(&ED25519, &key.bytes).verify(statement, signature).is_ok()
        })
    }
}

/// Returns what is signed: everything but `unused`, which each evaluation decides anew.
fn statement(
    project: &str,
    dir: &StoreDir,
    entry: &Entry,
    jobset: &JobsetName,
    job: &JobName,
) -> Vec<u8> {
    let Entry { path, nar_hash, key, depth, commit, time, tier, maker: _, unused: _ } = entry;
    let mut text = HEAD.to_owned();
    for (name, value) in [
        ("project", project),
        ("jobset", jobset.as_str()),
        ("job", job.as_str()),
        ("path", &dir.display(path)),
        ("narHash", &nar_hash.to_string()),
        ("key", key.as_str()),
        ("depth", &depth.to_string()),
        ("commit", commit),
        ("time", &time.to_string()),
        ("tier", tier.name()),
    ] {
        // With its length, no value can pass for the next one.
        text.push_str(&format!("{name} {}:{value}\n", value.len()));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests;
