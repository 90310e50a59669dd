//! What the kernel runs for a file: the interpreter that a script or a program names.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// How much of a script's first line the kernel looks at.
const FIRST_LINE: usize = 256;

/// Whether a file is a program of the processor's, and no script.
pub(crate) fn is_binary(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut start, 0));
    read.is_ok() && start == *b"\x7fELF"
}

/// Returns the interpreter that a file names: of a script the program, of a program the dynamic linker.
pub(crate) fn interpreter(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let mut start = [0; FIRST_LINE];
    let length = file.read_at(&mut start, 0).ok()?;
    let start = start.get(..length)?;
    if let Some(line) = start.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
        let word = line.split(|byte| byte.is_ascii_whitespace()).next()?;
        return Some(word.to_vec()).filter(|word| !word.is_empty());
    }
    // An ELF file of 64 bits with the lower byte first, as all that is traced here.
    if start.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let number = |bytes: &[u8], at: usize, length: usize| {
        let bytes = bytes.get(at..at + length)?;
        let mut value = [0; 8];
        value.get_mut(..length)?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(value))
    };
    let (table, size, count) =
        (number(start, 32, 8)?, number(start, 54, 2)?, number(start, 56, 2)?);
    for index in 0..count {
        let mut header = [0; 56];
        file.read_exact_at(&mut header, table.checked_add(index.checked_mul(size)?)?).ok()?;
        if number(&header, 0, 4)? != u64::from(libc::PT_INTERP) {
            continue;
        }
        let length = usize::try_from(number(&header, 32, 8)?).ok()?.min(4096);
        let mut text = vec![0; length];
        file.read_exact_at(&mut text, number(&header, 8, 8)?).ok()?;
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(length);
        text.truncate(end);
        return Some(text);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_programs_name_their_interpreters() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        for (text, expected) in [
            ("#!/bin/sh\n", Some("/bin/sh")),
            ("#! /usr/bin/env  python3 -x\nx", Some("/usr/bin/env")),
            ("#!\n", None),
            ("echo", None),
            ("", None),
            ("\x7fELF\x02\x01", None),
        ] {
            std::fs::write(&script, text).unwrap();
            assert_eq!(
                interpreter(&script),
                expected.map(|text| text.as_bytes().to_vec()),
                "{text}"
            );
        }
        let own = interpreter(&std::env::current_exe().unwrap()).unwrap();
        assert!(String::from_utf8(own).unwrap().contains("ld"), "the test itself");
    }
}
