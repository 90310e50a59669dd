//! The first words on a connection: who we are, and which version both speak.

use std::io::{Read, Write};

use super::error::{ConnectError, ProtocolError};
use super::wire::{Message, WireReader};

const OURS: u64 = 0x6e69_7863;
const THEIRS: u64 = 0x6478_696f;
/// The version that we offer, 1.35: what it has over 1.34 is known, what comes later is not needed.
const OFFERED_MINOR: u64 = 35;
/// The oldest minor version with results per derivation (Nix 2.8).
const NEEDED_MINOR: u64 = 34;

/// What the daemon said about itself.
#[derive(Debug)]
pub(super) struct Greeting {
    /// The minor version that both speak.
    pub(super) minor: u64,
    /// The daemon's Nix version.
    pub(super) nix_version: String,
    /// Whether it lets us change every setting; Nix 2.8 does not say.
    pub(super) trusted: Option<bool>,
}

/// Exchanges versions. The daemon's log frames up to its first answer are left to the caller.
pub(super) fn greet<R: Read>(
    wire: &mut WireReader<R>,
    sink: &mut impl Write,
) -> Result<Greeting, ConnectError> {
    let failed = |source| ConnectError::Greeting { stderr: Vec::new(), source };
    let version = first_words(wire, sink).map_err(failed)?;
    let (major, daemon_minor) = (version >> 8, version & 0xff);
    if major != 1 || daemon_minor < NEEDED_MINOR {
        return Err(ConnectError::TooOld { major, minor: daemon_minor });
    }
    let minor = daemon_minor.min(OFFERED_MINOR);
    rest(wire, sink, minor).map_err(failed)
}

fn first_words<R: Read>(
    wire: &mut WireReader<R>,
    sink: &mut impl Write,
) -> Result<u64, ProtocolError> {
    send(sink, Message::default().u64(OURS))?;
    match wire.u64()? {
        THEIRS => wire.u64(),
        other => Err(ProtocolError::number("greeting", other)),
    }
}

fn rest<R: Read>(
    wire: &mut WireReader<R>,
    sink: &mut impl Write,
    minor: u64,
) -> Result<Greeting, ProtocolError> {
    // The zeros are two obsolete settings: no processor affinity, no space to reserve.
    send(sink, Message::default().u64(0x100 | OFFERED_MINOR).u64(0).u64(0))?;
    let nix_version = wire.lossy()?;
    let trusted = match minor {
        35.. => match wire.u64()? {
            0 => None,
            1 => Some(true),
            2 => Some(false),
            other => return Err(ProtocolError::number("trust level", other)),
        },
        ..35 => None,
    };
    Ok(Greeting { minor, nix_version, trusted })
}

fn send(sink: &mut impl Write, message: &Message) -> Result<(), ProtocolError> {
    sink.write_all(&message.0)?;
    Ok(sink.flush()?)
}
