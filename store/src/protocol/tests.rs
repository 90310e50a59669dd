//! Tests against a daemon that misbehaves: bytes written by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use proptest::prelude::*;

use super::error::Malformed;
use super::frames::Frame;
use super::wire::WireReader;
use super::*;
use crate::store_path::{StoreDir, StorePath};

const LAST: u64 = 0x616c_7473;
const ERROR: u64 = 0x6378_7470;

/// Answers the handshake and the first options, then every byte of `script`, then ends.
fn scripted(script: Vec<u8>) -> (Connection, JoinHandle<()>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let daemon = std::thread::spawn(move || {
        let mut sent = numbers(&[0x6478_696f, 0x100 | 34]);
        sent.extend(string("9.9.9"));
        sent.extend(numbers(&[LAST, LAST]));
        sent.extend(script);
        theirs.write_all(&sent).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        theirs.read_to_end(&mut Vec::new()).unwrap();
    });
    (Connection::greet(ours, StoreDir::default(), None).unwrap(), daemon)
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = numbers(&[text.len() as u64]);
    bytes.extend(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn path() -> StorePath {
    "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x".parse().unwrap()
}

/// Asks whether a path is valid of a daemon that answers with `script`.
fn answer(script: Vec<u8>) -> (Result<bool, ProtocolError>, Connection) {
    let (mut connection, _daemon) = scripted(script);
    (connection.is_valid(&path()), connection)
}

#[test]
fn greets_and_asks() {
    let (mut connection, daemon) = scripted(numbers(&[LAST, 1, LAST, 0]));
    assert_eq!((connection.minor(), connection.nix_version()), (34, Some("9.9.9")));
    assert!(connection.is_valid(&path()).unwrap());
    assert!(connection.path_info(&path()).unwrap().is_none());
    drop(connection);
    daemon.join().unwrap();
}

#[test]
fn a_stream_that_ends_is_closed_for_good() {
    for script in [vec![], numbers(&[LAST]), numbers(&[LAST])[..3].to_vec()] {
        let (answer, mut connection) = answer(script);
        assert!(matches!(answer, Err(ProtocolError::Closed)), "{answer:?}");
        assert!(matches!(connection.is_valid(&path()), Err(ProtocolError::Closed)));
    }
    // In the middle of a string, behind a length that is true.
    let (answer, _) = answer([numbers(&[0x6f6c_6d67, 50]), vec![b'x'; 20]].concat());
    assert!(matches!(answer, Err(ProtocolError::Closed)), "{answer:?}");
}

#[test]
fn hostile_lengths_take_no_memory() {
    for length in [u64::MAX, 1 << 40, (4 << 30) + 1] {
        let (answer, mut connection) = answer(numbers(&[0x6f6c_6d67, length, 0, 0]));
        let Err(ProtocolError::Malformed {
            found: Malformed::Length { length: found, .. }, ..
        }) = answer
        else {
            panic!("{answer:?}");
        };
        assert_eq!(found, length);
        assert!(matches!(connection.is_valid(&path()), Err(ProtocolError::Closed)));
    }
}

#[test]
fn long_lines_and_messages_are_shortened() {
    let line = |length: usize| {
        let mut script = numbers(&[0x5253_4c54, 1, 101, 1, 1]);
        script.extend(string(&"ä".repeat(length / 2)));
        script
    };
    let mut wire = line(1000);
    wire.extend(numbers(&[0x6f6c_6d67]));
    wire.extend(string("after"));
    let mut wire = WireReader(wire.as_slice());
    let Frame::Result { fields, .. } = Frame::read(&mut wire, 9).unwrap() else { panic!() };
    assert_eq!(fields[0].text(), Some("ääää [992 bytes of this line left out]"));
    let Frame::Message(text) = Frame::read(&mut wire, 9).unwrap() else { panic!() };
    assert_eq!(text, "after");
    // Whole lines stay as they are, and what ends early is no line.
    let whole = line(8);
    let Frame::Result { fields, .. } = Frame::read(&mut WireReader(whole.as_slice()), 8).unwrap()
    else {
        panic!()
    };
    assert_eq!(fields[0].text(), Some("ääää"));
    let cut = &line(1000)[..200];
    let cut = Frame::read(&mut WireReader(cut), 9);
    assert!(matches!(cut, Err(ProtocolError::Closed)), "{cut:?}");
    // A failed build's message ends with its log, which may be longer than any other string.
    let mut result = numbers(&[LAST, 1]);
    result.extend(string("/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-b.drv!*"));
    result.extend(numbers(&[3]));
    let log = "x".repeat(65 << 20);
    result.extend(string(&format!("builder for '/b.drv' failed;\nlast 1 log lines:\n> {log}")));
    result.extend(numbers(&[1, 0, 0, 0, 0]));
    let (mut connection, _daemon) = scripted(result);
    let derivation = "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-b.drv".parse().unwrap();
    let results = connection.build(&[derivation], &mut |_| {}).unwrap();
    assert_eq!(results[0].error, "builder failed");
}

#[test]
fn of_a_message_with_many_fields_the_first_are_kept() {
    let mut script = numbers(&[0x5253_4c54, 1, 101, 100_000]);
    for _ in 0..100_000 {
        script.extend(numbers(&[1]));
        script.extend(string("x"));
    }
    script.extend(numbers(&[0x6f6c_6d67]));
    script.extend(string("after"));
    let mut wire = WireReader(script.as_slice());
    let Frame::Result { fields, .. } = Frame::read(&mut wire, 9).unwrap() else { panic!() };
    assert_eq!(fields.len(), 8);
    let Frame::Message(text) = Frame::read(&mut wire, 9).unwrap() else { panic!() };
    assert_eq!(text, "after");
}

#[test]
fn unknown_frames_fields_and_padding_are_malformed() {
    let padding = [numbers(&[0x6f6c_6d67, 1]), b"a\0\0\0\0\0\0\x01".to_vec()].concat();
    for script in [numbers(&[7]), numbers(&[0x5253_4c54, 1, 101, 1, 9]), padding] {
        let (answer, _) = answer(script);
        assert!(matches!(answer, Err(ProtocolError::Malformed { .. })), "{answer:?}");
    }
}

#[test]
fn an_error_leaves_the_connection_usable() {
    let error = [
        numbers(&[ERROR]),
        string("Error"),
        numbers(&[0]),
        string("Error"),
        string("\u{1b}[31merror:\u{1b}[0m no such thing"),
        numbers(&[0, 1, 0]),
        string("while asking"),
    ];
    let (answer, mut connection) = answer([error.concat(), numbers(&[LAST, 1])].concat());
    let Err(ProtocolError::Daemon { message }) = answer else { panic!("{answer:?}") };
    assert_eq!(message, "error: no such thing");
    assert!(connection.is_valid(&path()).unwrap());
}

#[test]
fn old_daemons_and_strangers_are_refused() {
    let greet = |script: Vec<u8>| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&script).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        Connection::greet(ours, StoreDir::default(), None).unwrap_err()
    };
    let old = greet(numbers(&[0x6478_696f, 0x100 | 21]));
    assert!(matches!(old, ConnectError::TooOld { major: 1, minor: 21 }), "{old:?}");
    let stranger = greet(b"HTTP/1.1 400 Bad Request\r\n".to_vec());
    assert!(matches!(stranger, ConnectError::Greeting { .. }), "{stranger:?}");
}

#[test]
fn results_that_are_left_out_are_filled_in() {
    let derivation = |name: &str| -> crate::DerivationPath {
        format!("0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-{name}.drv").parse().unwrap()
    };
    let answer = [
        numbers(&[LAST, 1]),
        string("/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-b.drv!*"),
        numbers(&[0]),
        string(""),
        numbers(&[1, 0, 0, 0, 1]),
        string("sha256:00!out"),
        string(r#"{"outPath":"0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x","signatures":[]}"#),
    ];
    let (mut connection, _daemon) = scripted(answer.concat());
    let results = connection.build(&[derivation("a"), derivation("b")], &mut |_| {}).unwrap();
    assert_eq!(results[0].status, BuildStatus::MiscFailure);
    assert_eq!(results[1].status, BuildStatus::Built);
    assert_eq!(results[1].outputs["out"], path());
}

proptest! {
    #[test]
    fn frames_never_panic(kind in 0..8usize, numbers_first in prop::collection::vec(0..20u64, 0..8), rest: Vec<u8>) {
        let kinds = [0x6f6c_6d67, 0x6461_7416, ERROR, 0x5354_5254, 0x5354_4f50, 0x5253_4c54, LAST, 1];
        let bytes = [numbers(&[kinds[kind]]), numbers(&numbers_first), rest].concat();
        let mut wire = WireReader(bytes.as_slice());
        while Frame::read(&mut wire, 100).is_ok() {}
    }
}
