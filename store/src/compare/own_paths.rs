//! Own paths that stand in files in pieces, as where a compiler took a text apart into instructions.
//!
//! Two builds with output paths of their own differ in such pieces, and must. At the same place, one
//! has some digits of its own hash and the other the same digits of its own.

/// Digits in a row that are no coincidence.
const CERTAIN: usize = 8;
/// Fewest digits of a piece, unless it is the hash's first or last.
const LEAST: usize = 4;

/// Some digits of a hash at a place that two files share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    pair: usize,
    start: usize,
    digit: usize,
    len: usize,
}

/// Finds the pieces that explain where two files of one length differ. Says as well whether they
/// explain every place.
fn pieces(a: &[u8], b: &[u8], pairs: &[(Vec<u8>, Vec<u8>)]) -> (Vec<Piece>, bool) {
    let mut found: Vec<Piece> = Vec::new();
    let mut all = a.len() == b.len();
    let mut at = 0;
    while let Some(next) = a.iter().zip(b).skip(at).position(|(x, y)| x != y) {
        let place = at + next;
        match longest(a, b, place, pairs) {
            Some(piece) => {
                at = piece.start + piece.len;
                found.push(piece);
            }
            None => {
                all = false;
                at = place + 1;
            }
        }
    }
    (found, all)
}

/// Finds the longest piece at a place.
fn longest(a: &[u8], b: &[u8], place: usize, pairs: &[(Vec<u8>, Vec<u8>)]) -> Option<Piece> {
    let mut best: Option<Piece> = None;
    for (pair, (from, to)) in pairs.iter().enumerate() {
        let digits = from.len().min(to.len());
        let same = |offset: usize, digit: usize| {
            digit < digits
                && a.get(offset) == Some(&from[digit])
                && b.get(offset) == Some(&to[digit])
        };
        for digit in (0..digits).filter(|&digit| same(place, digit)) {
            let before = (1..=digit.min(place)).take_while(|&n| same(place - n, digit - n)).count();
            let after = (1..).take_while(|&n| same(place + n, digit + n)).count();
            let (start, digit, len) = (place - before, digit - before, before + 1 + after);
            let is_edge = digit == 0 || digit + len == digits;
            let longer = best.is_none_or(|best| len > best.len);
            if longer && (len >= LEAST || is_edge) {
                best = Some(Piece { pair, start, digit, len });
            }
        }
    }
    best
}

/// Says whether two files differ only in pieces of their own paths.
pub(super) fn only_pieces(a: &[u8], b: &[u8], pairs: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let (found, all) = pieces(a, b, pairs);
    all && found.iter().any(|piece| piece.len >= CERTAIN)
}

/// Says whether a file holds some other path where two clean builds hold their own.
///
/// `hashes` has for each output the hash in this build, in the clean build, and in its twin.
pub(super) fn names_another(
    file: &[u8],
    clean: &[u8],
    twin: &[u8],
    hashes: &[[Vec<u8>; 3]],
) -> bool {
    if file.len() != clean.len() || clean.len() != twin.len() {
        return false;
    }
    let pairs: Vec<_> = hashes.iter().map(|[_, b, c]| (b.clone(), c.clone())).collect();
    let (found, _) = pieces(clean, twin, &pairs);
    found.iter().filter(|piece| piece.len >= CERTAIN).any(|piece| {
        let Piece { pair, start, digit, len } = *piece;
        let here = &file[start..start + len];
        let own = hashes[pair][0].get(digit..digit + len);
        // Something else may stand here if the files' layouts differ.
        let looks_like_one = here.iter().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        looks_like_one && own != Some(here)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3ygw493yzidkiia6rawrpjvizib6yjiw";
    const B: &str = "ablk6g9lk56hvq85fm8pk0bvwp6z8zim";
    const C: &str = "55vr6zh0isfqkgq74mbv43rxczs7q8jx";

    /// As a compiler takes a path apart, with the cuts at any place.
    fn program(hash: &str, shift: usize, rest: &str) -> Vec<u8> {
        let path = format!("/store/{}{hash}-app", "x".repeat(shift));
        let chunks = path.as_bytes().chunks(8);
        let code: Vec<u8> =
            chunks.flat_map(|chunk| [b"\x48\xb8", chunk, b"\x89"].concat()).collect();
        [&code, rest.as_bytes()].concat()
    }

    fn pairs(a: &str, b: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![(b"unused".to_vec(), b"nowhere".to_vec()), (a.into(), b.into())]
    }

    #[test]
    fn pieces_of_own_paths_are_no_difference() {
        for shift in 0..9 {
            let (a, b) = (program(A, shift, "same"), program(B, shift, "same"));
            assert!(only_pieces(&a, &b, &pairs(A, B)), "{shift}");
            assert!(!only_pieces(&program(C, shift, "same"), &b, &pairs(A, B)), "{shift}");
            assert!(!only_pieces(&program(A, shift, "else"), &b, &pairs(A, B)), "{shift}");
            assert!(!only_pieces(&program(A, shift, "longer"), &b, &pairs(A, B)), "{shift}");
        }
        assert!(!only_pieces(b"3", b"a", &pairs(A, B)));
    }

    #[test]
    fn another_builds_path_is_found_beside_other_differences() {
        let hashes = [[A.into(), B.into(), C.into()]];
        let (clean, twin) = (program(B, 3, "id 1"), program(C, 3, "id 2"));
        let other = "0000000000000000000000000000000z";
        for (hash, expected) in [(A, false), (other, true), (B, true)] {
            let file = program(hash, 3, "id 3");
            assert_eq!(names_another(&file, &clean, &twin, &hashes), expected, "{hash}");
        }
        assert!(!names_another(b"short", &clean, &twin, &hashes));
        let random = vec![0xff; clean.len()];
        assert!(!names_another(&random, &clean, &twin, &hashes));
    }
}
