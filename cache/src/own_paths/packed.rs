//! Looks for own paths inside compressed data, wherever in a file such data begins.
//!
//! gzip, zlib, zip and zstd are unpacked, again if they hold each other. Of others only the beginning
//! of a file is known, which says that nobody can tell.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

use super::{Form, Own, OwnPaths};

/// Compressed data inside compressed data is looked into so often.
const DEEPEST: u32 = 3;
/// Most bytes unpacked of one file.
const MOST: u64 = 1 << 30;
/// Bytes looked at together.
const WINDOW: usize = 1 << 16;
/// What two windows share: longer than every form of a piece.
const REACH: usize = 512;
/// Most places of a file where something may begin.
const MOST_MARKERS: usize = 100_000;

/// What compressed data may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packed {
    Gzip,
    Zlib,
    Zip,
    Zstd,
}

/// What a file begins with that this program cannot look into: xz, bzip2, 7z, lz4 and snappy.
const OPAQUE: [&[u8]; 5] =
    [b"\xfd7zXZ\0", b"BZh", b"7z\xbc\xaf\x27\x1c", b"\x04\x22\x4d\x18", b"\xff\x06\0\0sNaPpY"];

/// The places in a file where compressed data may begin.
#[derive(Debug, Default)]
pub(crate) struct Markers {
    places: Vec<(u64, Packed)>,
    opaque: bool,
}

impl Markers {
    /// Notes what may begin in bytes from that offset of the file, before `until`.
    pub(crate) fn collect(&mut self, bytes: &[u8], offset: u64, until: usize) {
        if offset == 0 && OPAQUE.iter().any(|start| bytes.starts_with(start)) {
            self.opaque = true;
        }
        for (at, window) in bytes.windows(4).enumerate().take(until) {
            let kind = match window {
                [0x1f, 0x8b, 8, _] => Packed::Gzip,
                [b'P', b'K', 3, 4] => Packed::Zip,
                [0x28, 0xb5, 0x2f, 0xfd] => Packed::Zstd,
                [0x78, 0x01 | 0x5e | 0x9c | 0xda, _, _] => Packed::Zlib,
                _ => continue,
            };
            let place = offset + at as u64;
            if self.places.last().is_none_or(|(last, _)| *last < place) {
                if self.places.len() == MOST_MARKERS {
                    self.opaque = true;
                    return;
                }
                self.places.push((place, kind));
            }
        }
    }

    /// Says whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty() && !self.opaque
    }

    /// Looks for an own path in what begins at these places of a file.
    pub(crate) fn find(&self, place: &Path, own: &OwnPaths) -> io::Result<Option<Own>> {
        if self.opaque {
            return Ok(Some(opaque()));
        }
        let mut file = BufReader::with_capacity(1 << 14, File::open(place)?);
        let mut left = MOST;
        for &(at, kind) in &self.places {
            file.seek(SeekFrom::Start(at))?;
            if let Some(found) = unpack(&mut file, kind, own, &mut left, DEEPEST) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn opaque() -> Own {
    Own { output: String::new(), form: Form::Opaque }
}

/// Unpacks what begins here, if it does, and looks into it. A failure only means that nothing more
/// can be unpacked.
fn unpack(
    bytes: &mut dyn BufRead,
    kind: Packed,
    own: &OwnPaths,
    left: &mut u64,
    depth: u32,
) -> Option<Own> {
    match kind {
        Packed::Gzip => scan(&mut GzDecoder::new(bytes), own, left, depth),
        Packed::Zlib => scan(&mut ZlibDecoder::new(bytes), own, left, depth),
        Packed::Zstd => {
            let decoder = zstd::Decoder::with_buffer(bytes).ok()?;
            scan(&mut decoder.single_frame(), own, left, depth)
        }
        Packed::Zip => {
            let mut head = [0; 30];
            bytes.read_exact(&mut head).ok()?;
            let number = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
            let (encrypted, method) = (number(6) & 1 != 0, number(8));
            let mut names = (&mut *bytes).take(number(26) + number(28));
            io::copy(&mut names, &mut io::sink()).ok()?;
            match method {
                // As it is, so that it was seen already.
                0 if !encrypted => None,
                8 if !encrypted => scan(&mut DeflateDecoder::new(bytes), own, left, depth),
                // What cannot be read; but four bytes alone may be there by chance.
                1..=99 if (10..=63).contains(&number(4)) => Some(opaque()),
                _ => None,
            }
        }
    }
}

fn scan(data: &mut dyn Read, own: &OwnPaths, left: &mut u64, depth: u32) -> Option<Own> {
    let mut buffer = vec![0; WINDOW + REACH];
    let mut held = 0;
    loop {
        let mut ended = false;
        while held < buffer.len() && !ended {
            match data.read(&mut buffer[held..]) {
                Ok(0) => ended = true,
                Ok(read) => {
                    held += read;
                    *left = left.saturating_sub(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => ended = true,
            }
        }
        let bytes = &buffer[..held];
        if let Some(found) = own.find(bytes) {
            return Some(Own { form: Form::Compressed, ..found });
        }
        if depth > 0 {
            // Here only what lies in one window is looked into.
            let mut inner = Markers::default();
            inner.collect(bytes, 0, held);
            for (at, kind) in inner.places {
                let mut rest = usize::try_from(at).map_or(&[][..], |at| &bytes[at..]);
                let found = unpack(&mut rest, kind, own, left, depth - 1);
                if let Some(found) = found.filter(|own| own.form != Form::Opaque) {
                    return Some(found);
                }
            }
        }
        if *left == 0 {
            return Some(opaque());
        }
        if ended {
            return None;
        }
        buffer.copy_within(held - REACH..held, 0);
        held = REACH;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const HASH_TEXT: &str = "3ygw493yzidkiia6rawrpjvizib6yjiw";

    fn form(bytes: &[u8]) -> Option<Form> {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("f");
        std::fs::write(&place, bytes).unwrap();
        let own = OwnPaths::new([("out", HASH_TEXT.as_bytes().to_vec())]);
        let mut markers = Markers::default();
        markers.collect(bytes, 0, bytes.len());
        markers.find(&place, &own).unwrap().map(|own| own.form)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        let mut file = b"PK\x03\x04\x14\0\0\0\x08\0".to_vec();
        file.resize(26, 0);
        file.extend_from_slice(b"\x04\0\0\0name");
        file.extend(encoder.finish().unwrap());
        file
    }

    #[test]
    fn compressed_data_is_looked_into() {
        let mut long: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        long.extend_from_slice(format!("prefix=/nix/store/{HASH_TEXT}-app\n").as_bytes());
        for text in [HASH_TEXT.as_bytes(), &long] {
            let mut zlib =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            zlib.write_all(text).unwrap();
            for packed in
                [gzip(text), zip(text), zlib.finish().unwrap(), zstd::encode_all(text, 3).unwrap()]
            {
                assert_eq!(form(&packed), Some(Form::Compressed));
                let inside = [b"\x7fELF something".as_slice(), &packed, b"after"].concat();
                assert_eq!(form(&inside), Some(Form::Compressed));
            }
        }
        assert_eq!(form(&zip(&gzip(HASH_TEXT.as_bytes()))), Some(Form::Compressed));
        assert_eq!(form(&gzip(b"nothing of this kind")), None);
    }

    #[test]
    fn what_cannot_be_looked_into_is_in_doubt() {
        assert_eq!(form(b"\xfd7zXZ\0\0\x04"), Some(Form::Opaque));
        let mut bzip_in_zip = zip(b"x");
        bzip_in_zip[8] = 12;
        assert_eq!(form(&bzip_in_zip), Some(Form::Opaque));
        assert_eq!(form(b"text \xfd7zXZ\0"), None);
        assert_eq!(form(b"\x1f\x8b\x08 cut short"), None);
    }
}
