//! Finds secrets in a text as people see it: without the escape sequences that pages leave out, and over line breaks.
//!
//! What is cut must not show a part of a secret either. So the beginning of one counts where a line or the text ends, or
//! where it says that something was left out, and the end of one counts where a line or the text begins: the lines before
//! may have been left out, and Nix keeps of a line what was printed after its last carriage return. What is put in the place
//! of a secret is not decided here.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

use super::masks::all_forms;

/// How much of a secret is one where it is cut: fewer bytes say nothing, and would be found everywhere.
const PART: usize = 8;

/// More than there is of a sign that something was left out.
const SIGN: usize = 40;

/// How much more of a text than a secret has is waited for: what is between its letters may be long.
const MOST_BETWEEN: usize = 64 << 10;

/// Secrets in all their forms, ready to be looked for.
pub(super) struct Searched {
    beginnings: Parts,
    ends: Parts,
    /// How many there are, and how long the longest is.
    count: usize,
    longest: usize,
}

/// Forms of secrets by a part that they have in common.
struct Parts {
    /// As the finder numbers the parts.
    forms: Vec<Vec<String>>,
    finder: AhoCorasick,
}

impl Parts {
    fn new(forms: &[String], part: fn(&[u8]) -> &[u8]) -> Result<Self, BuildError> {
        let mut by_part: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        for form in forms {
            by_part.entry(part(form.as_bytes()).to_vec()).or_default().push(form.clone());
        }
        let kind = MatchKind::Standard;
        let finder = AhoCorasick::builder().match_kind(kind).build(by_part.keys())?;
        Ok(Self { forms: by_part.into_values().collect(), finder })
    }

    /// Returns where such parts begin and end in a text, each with the forms that have it.
    fn find<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (Range<usize>, &'a [String])> {
        let found = self.finder.find_overlapping_iter(text);
        found.map(|found| (found.range(), self.forms[found.pattern().as_usize()].as_slice()))
    }
}

/// Where secrets are in a text.
pub(super) struct Marks {
    /// Whether a byte is part of one.
    pub(super) is_secret: Vec<bool>,
    /// From the first to the last byte of each; what is between its letters is in there as well.
    pub(super) ranges: Vec<Range<usize>>,
}

impl Searched {
    /// Prepares to look for some secrets; nothing if none is long enough.
    pub(super) fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<Self>, BuildError> {
        let all = all_forms(secrets);
        let (count, longest) = (all.len(), all.first().map_or(0, String::len));
        if count == 0 {
            return Ok(None);
        }
        let beginnings = Parts::new(&all, |form| &form[..form.len().min(PART)])?;
        let ends = Parts::new(&all, |form| &form[form.len().saturating_sub(PART)..])?;
        Ok(Some(Self { beginnings, ends, count, longest }))
    }

    /// Returns how many forms are looked for.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Finds every secret in a text, and every beginning and end of one where something is cut.
    pub(super) fn find(&self, text: &[u8]) -> Marks {
        let mut marks = Marks { is_secret: vec![false; text.len()], ranges: Vec::new() };
        self.mark(&Seen::whole(text), &mut marks);
        // What is in a sequence is seen by whoever takes the text as it is, so both count.
        let seen = Seen::of(text);
        if seen.bytes.len() < text.len() {
            self.mark(&seen, &mut marks);
        }
        marks
    }

    fn mark(&self, seen: &Seen, marks: &mut Marks) {
        let mut add = |secret: Range<usize>| {
            for place in &seen.places[secret.clone()] {
                marks.is_secret[*place] = true;
            }
            marks.ranges.push(seen.places[secret.start]..seen.places[secret.end - 1] + 1);
        };
        for (part, forms) in self.beginnings.find(&seen.bytes) {
            let ends = forms.iter().filter_map(|form| seen.end_of(form.as_bytes(), part.start));
            ends.for_each(|end| add(part.start..end));
        }
        for (part, forms) in self.ends.find(&seen.bytes) {
            let starts = forms.iter().filter_map(|form| seen.start_of(form.as_bytes(), part.end));
            starts.for_each(|start| add(start..part.end));
        }
    }

    /// Returns how many bytes at the beginning of a text are judged rightly, whatever follows it.
    pub(super) fn decided(&self, text: &[u8]) -> usize {
        let span = self.span();
        let seen = Seen::of(text);
        let behind = seen.bytes.len().checked_sub(span).and_then(|at| seen.places.get(at));
        let at_least = text.len().saturating_sub(span + MOST_BETWEEN);
        behind.copied().unwrap_or(0).max(at_least)
    }

    /// Returns from where on a text must be known to judge what follows a place in it.
    pub(super) fn needed(&self, text: &[u8], place: usize) -> usize {
        self.decided(&text[..place])
    }

    fn span(&self) -> usize {
        self.longest + SIGN
    }
}

/// A text as it is seen, and where in the whole each of its bytes is.
struct Seen {
    bytes: Vec<u8>,
    places: Vec<usize>,
    /// Whether a line ends before each byte, and at the very end.
    is_after_break: Vec<bool>,
}

impl Seen {
    fn whole(text: &[u8]) -> Self {
        let is_break = |at: usize| at == text.len() || is_break(text[at]);
        Self {
            bytes: text.to_vec(),
            places: (0..text.len()).collect(),
            is_after_break: (0..=text.len()).map(is_break).collect(),
        }
    }

    /// Leaves out escape sequences and line breaks.
    fn of(text: &[u8]) -> Self {
        let (mut bytes, mut places) = (Vec::with_capacity(text.len()), Vec::new());
        let mut is_after_break = Vec::with_capacity(text.len() + 1);
        let (mut at, mut is_broken) = (0, false);
        while let Some(byte) = text.get(at) {
            if is_break(*byte) {
                is_broken = true;
                at += 1;
            } else if let Some(length) = sequence(&text[at..]) {
                at += length;
            } else {
                bytes.push(*byte);
                places.push(at);
                is_after_break.push(std::mem::take(&mut is_broken));
                at += 1;
            }
        }
        is_after_break.push(true);
        Self { bytes, places, is_after_break }
    }

    /// Returns where a secret ends, of which at least the beginning is at a place; nothing if it is another text.
    fn end_of(&self, form: &[u8], first: usize) -> Option<usize> {
        let rest = &self.bytes[first..];
        let common = form.iter().zip(rest).take_while(|(one, other)| one == other).count();
        if common == form.len() {
            return Some(first + common);
        }
        (first + PART..=first + common).rev().find(|end| self.is_cut(*end))
    }

    /// Returns where the end of a secret begins that ends at a place, if a line begins there and it is long enough.
    fn start_of(&self, form: &[u8], end: usize) -> Option<usize> {
        let (form, before) = (form.iter().rev(), self.bytes[..end].iter().rev());
        let common = form.zip(before).take_while(|(one, other)| one == other).count();
        let last = end.checked_sub(PART)?;
        (end - common..=last).find(|start| *start == 0 || self.is_after_break[*start])
    }

    fn is_cut(&self, end: usize) -> bool {
        self.is_after_break[end] || is_sign(&self.bytes[end..])
    }
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Returns whether a text goes on with a sign that something was left out there.
fn is_sign(text: &[u8]) -> bool {
    if text.starts_with("…".as_bytes()) || text.starts_with(b"...") {
        return true;
    }
    let Some(rest) = text.strip_prefix(b" [") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(b" bytes ")
}

/// Returns the length of the control sequence that a text begins with: what pages do not show.
fn sequence(text: &[u8]) -> Option<usize> {
    let (introducer, body) = match text {
        [0x1b, second, ..] => match second {
            b'[' | b']' | b'P' | b'X' | b'^' | b'_' => (*second, 2),
            b' '..=b'/' => {
                let between = text[1..].iter().take_while(|b| matches!(b, b' '..=b'/')).count();
                let last = text.get(1 + between).filter(|byte| !is_break(**byte));
                return Some(1 + between + last.map_or(0, |first| length_of(*first)));
            }
            _ if is_break(*second) => return Some(1),
            _ => return Some(1 + length_of(*second)),
        },
        [0xc2, 0x9b, ..] => (b'[', 2),
        [0xc2, 0x90 | 0x98 | 0x9d..=0x9f, ..] => (b']', 2),
        [0xc2, 0x80..=0x9f, ..] => return Some(2),
        [0..=8 | 0xb..=0x1f | 0x7f, ..] => return Some(1),
        _ => return None,
    };
    let rest = text.get(body..).unwrap_or_default();
    let line = rest.iter().position(|byte| is_break(*byte)).map_or(rest, |end| &rest[..end]);
    if introducer == b'[' {
        let parameters = line.iter().take_while(|byte| matches!(byte, b' '..=b'?')).count();
        let is_ended = line.get(parameters).is_some_and(|byte| matches!(byte, b'@'..=b'~'));
        return Some(body + parameters + usize::from(is_ended));
    }
    let end = (0..line.len()).find_map(|at| match &line[at..] {
        [7, ..] => Some(at + 1),
        [0xc2, 0x9c, ..] | [0x1b, b'\\', ..] => Some(at + 2),
        _ => None,
    });
    Some(body + end.unwrap_or(line.len()))
}

/// Returns how many bytes a character has that begins with this one.
fn length_of(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}
