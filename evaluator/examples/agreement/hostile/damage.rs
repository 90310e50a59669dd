//! Makes texts that are nearly right.

use super::Door;
use crate::random::Random;

/// What is thrown together, or thrown in.
const TOKENS: [&str; 88] = [
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    ":",
    ",",
    ".",
    "=",
    "==",
    "!=",
    "?",
    "@",
    "...",
    "+",
    "-",
    "*",
    "/",
    "//",
    "++",
    "->",
    "&&",
    "||",
    "!",
    "<",
    ">",
    "<=",
    ">=",
    "|>",
    "<|",
    "let",
    "in",
    "if",
    "then",
    "else",
    "with",
    "rec",
    "inherit",
    "assert",
    "or",
    "null",
    "true",
    "1",
    "0.5",
    ".5e-3",
    "99999999999999999999",
    "\"",
    "''",
    "'''",
    "''$",
    "''\\",
    "${",
    "$",
    "$$",
    "\\",
    "a",
    "b",
    "x",
    "a-b",
    "a'",
    "__curPos",
    "./a",
    "/a/b",
    "~/a",
    "<nixpkgs>",
    "<a/b>",
    "http://a/b?c",
    "a:b",
    " ",
    "\n",
    "\r\n",
    "\t",
    "#",
    "/*",
    "*/",
    "/**/",
    "\0",
    "\u{feff}",
    "é",
    "\u{1f600}",
    "Derive(",
    "\",\"",
    "/nix/store/00000000000000000000000000000000-a",
    "\\n",
    "\\u0000",
    "{1,3}",
];

const DERIVATION: &str = r#"Derive([("dev","/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x-dev","",""),("out","/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x","r:sha256","00ff")],[("/nix/store/1c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-dep.drv",["dev","out"])],["/nix/store/2c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-source"],"x86_64-linux","/bin/sh",["-c","echo \"a\\b\"\n\texit 0\r"],[("name","x"),("out","/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x")])"#;
const JSON: &str =
    r#"{"a": [1, -2.5e3, true, null, "x\u00e9\ud83d\ude00\n\"y"], "b": {"c": {}, "": []}, "d": 0}"#;
const TOML: &str = "a = 1\nb.c = \"x\\u00e9\"\n[t]\nd = [1, 2.5, 'y', {e = true}]\n[[u]]\nf = 1979-05-27T07:32:00Z\ng = '''\nz'''\n[[u]]\nh = 0xff\ni = inf\n";
const REGEX: &str = "^([a-z]+|b{2,3})?[^[:space:]x-]*(foo|(a.)*)\\.+$";
const FLAKES: [&str; 6] = [
    "github:owner/repository/main?dir=a&host=example.org",
    "git+https://example.org/a.git?ref=main&rev=0123456789012345678901234567890123456789",
    "path:/a/b?narHash=sha256-47DEQpj8HBSa%2B%2FTImW%2B5JCeuQeRkm5NMpJWZG3hSuFU%3D",
    "https://example.org/a.tar.gz",
    "nixpkgs/nixos-25.11",
    "gitlab:a%2Fb/c",
];
const DATA: &str =
    "{ a = [ 1 (-2) 2.5 \"x\\n\\${y}\" null true ]; \"b c\" = { d = { }; }; # e\n f = ''g''; }";

/// The longest piece of a real text.
const LONGEST: usize = 1_500;

/// Makes the input for a door.
pub(super) fn input(random: &mut Random, door: Door, texts: &[Vec<u8>]) -> Vec<u8> {
    match random.below(20) {
        0 => return bytes(random),
        1 | 2 => return tokens(random),
        _ => {}
    }
    let base: &[u8] = match door {
        Door::Language if texts.is_empty() => DATA.as_bytes(),
        Door::Language => &texts[random.below(texts.len())],
        Door::Aterm => DERIVATION.as_bytes(),
        Door::Json => JSON.as_bytes(),
        Door::Toml => TOML.as_bytes(),
        Door::Regex => REGEX.as_bytes(),
        Door::FlakeReference => random.pick(&FLAKES).as_bytes(),
        Door::Data => DATA.as_bytes(),
    };
    let mut text = base.to_vec();
    if text.len() > LONGEST {
        // A part from the middle begins and ends anywhere.
        let start = random.below(text.len() - LONGEST);
        let end = start + 1 + random.below(LONGEST);
        text = text[start..end].to_vec();
    }
    for _ in 0..=random.below(4) {
        damage(random, &mut text);
    }
    text
}

/// Changes a text in one place.
fn damage(random: &mut Random, text: &mut Vec<u8>) {
    let at = random.below(text.len() + 1);
    let end = (at + random.below(12)).min(text.len());
    match random.below(10) {
        0 if at < text.len() => text[at] ^= 1 << random.below(8),
        1 if at < text.len() => text[at] = random.bits().to_le_bytes()[0],
        2 => drop(text.drain(at..end)),
        3 => text.truncate(at),
        4 => {
            let piece = text[at..end].to_vec();
            let other = random.below(text.len() + 1);
            text.splice(other..other, piece);
        }
        5 => {
            let piece = text[at..end].repeat(1 + random.below(40));
            text.splice(at..end, piece);
        }
        6 => {
            let piece = random.word(&TOKENS).as_bytes().repeat(1 + random.below(30));
            text.splice(at..at, piece);
        }
        7 => text.insert(at, *random.pick(&[0, b'"', b'\\', b'\'', b'$', b'{', 0x80, 0xff])),
        _ => drop(text.splice(at..end, random.word(&TOKENS).bytes())),
    }
}

fn bytes(random: &mut Random) -> Vec<u8> {
    (0..random.below(60)).map(|_| random.bits().to_le_bytes()[0]).collect()
}

fn tokens(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.below(40) {
        text.extend_from_slice(random.word(&TOKENS).as_bytes());
        if random.chance(50) {
            text.push(b' ');
        }
    }
    text
}
