//! What the daemon says while it works on a question: messages, activities and their results.

use std::io::Read;

use super::error::ProtocolError;
use super::wire::WireReader;
use crate::ansi::strip_ansi;

const NEXT: u64 = 0x6f6c_6d67;
const WRITE: u64 = 0x6461_7416;
const ERROR: u64 = 0x6378_7470;
const START: u64 = 0x5354_5254;
const STOP: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;
const LAST: u64 = 0x616c_7473;

/// How many fields of a message are looked at. Nix sends fewer; a builder may send as many as it likes.
const MOST_FIELDS: usize = 8;
/// How much of a message is read. One about a failed build ends with lines of its log, of any length.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// An activity that builds one derivation.
pub(super) const ACTIVITY_BUILD: u64 = 105;
/// The result that carries one line of a builder's log.
pub(super) const RESULT_LINE: u64 = 101;
/// The result that carries the name of the phase which a builder enters.
pub(super) const RESULT_PHASE: u64 = 104;
/// The result that carries one line of a post-build hook's log.
pub(super) const RESULT_HOOK_LINE: u64 = 107;

/// One thing that the daemon said.
#[derive(Debug)]
pub(super) enum Frame {
    /// A message for people.
    Message(String),
    /// Something begins.
    Start { id: u64, level: u64, kind: u64, text: String, fields: Vec<Field> },
    /// It has ended, well or not.
    Stop { id: u64 },
    /// Something about it.
    Result { id: u64, kind: u64, fields: Vec<Field> },
    /// The question is refused.
    Error { message: String },
    /// The answer follows.
    Last,
}

/// A datum of an activity or result. Its numbers are counters that levain does not use.
#[derive(Debug)]
pub(super) enum Field {
    Number,
    Text(String),
}

impl Field {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Number => None,
            Self::Text(text) => Some(text),
        }
    }
}

impl Frame {
    /// Reads a frame; of a line of a log, at most `line_limit` bytes.
    pub(super) fn read<R: Read>(
        wire: &mut WireReader<R>,
        line_limit: usize,
    ) -> Result<Self, ProtocolError> {
        match wire.u64()? {
            NEXT | WRITE => Ok(Self::Message(strip_ansi(&wire.shortened(MAX_MESSAGE)?.0))),
            START => {
                let (id, level, kind) = (wire.u64()?, wire.u64()?, wire.u64()?);
                let text = strip_ansi(&wire.shortened(MAX_MESSAGE)?.0);
                let fields = wire.first(MOST_FIELDS, |wire| read_field(wire, MAX_MESSAGE))?;
                let _parent = wire.u64()?;
                Ok(Self::Start { id, level, kind, text, fields })
            }
            STOP => Ok(Self::Stop { id: wire.u64()? }),
            RESULT => {
                let (id, kind) = (wire.u64()?, wire.u64()?);
                let fields = wire.first(MOST_FIELDS, |wire| read_field(wire, line_limit))?;
                Ok(Self::Result { id, kind, fields })
            }
            ERROR => read_error(wire),
            LAST => Ok(Self::Last),
            other => Err(ProtocolError::number("log frame", other)),
        }
    }
}

fn read_field<R: Read>(wire: &mut WireReader<R>, limit: usize) -> Result<Field, ProtocolError> {
    match wire.u64()? {
        0 => wire.u64().map(|_| Field::Number),
        1 => wire.shortened(limit).map(|(text, left_out)| match left_out {
            0 => Field::Text(text),
            _ => Field::Text(format!("{text} [{left_out} bytes of this line left out]")),
        }),
        other => Err(ProtocolError::number("log field", other)),
    }
}

fn read_error<R: Read>(wire: &mut WireReader<R>) -> Result<Frame, ProtocolError> {
    let (_type, _level, _name) = (wire.bytes()?, wire.u64()?, wire.bytes()?);
    let message = strip_ansi(&wire.shortened(MAX_MESSAGE)?.0);
    read_no_position(wire)?;
    // Nobody reads them.
    wire.first(0, |wire| {
        read_no_position(wire)?;
        wire.shortened(0)
    })?;
    Ok(Frame::Error { message: message.trim().to_owned() })
}

/// Reads the place where a position could follow; Nix never sends one.
fn read_no_position<R: Read>(wire: &mut WireReader<R>) -> Result<(), ProtocolError> {
    match wire.u64()? {
        0 => Ok(()),
        other => Err(ProtocolError::number("error position", other)),
    }
}
