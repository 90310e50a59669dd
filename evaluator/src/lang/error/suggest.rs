//! "Did you mean": the known name that is nearest to one that is not known.

/// The largest number of edits between a name and a suggestion.
const MAX_EDITS: usize = 2;
/// More names than these are not compared.
const MAX_NAMES: usize = 20_000;
/// Longer names are not compared.
const MAX_LENGTH: usize = 200;

/// Returns the name that is nearest to `name`, if one is near enough.
///
/// Near means at most two edits and fewer edits than letters, because every short name is near
/// every other. Of equally near ones the first in alphabetical order is taken.
pub fn suggest<'a>(name: &[u8], known: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    known
        .into_iter()
        .take(MAX_NAMES)
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| {
            let edits = distance(name, candidate)?;
            (edits < name.len().min(candidate.len()).max(2)).then_some((edits, candidate))
        })
        .min()
        .map(|(_, candidate)| String::from_utf8_lossy(candidate).into_owned())
}

/// Counts insertions, deletions, replacements and swaps of neighbours, if they are few.
fn distance(a: &[u8], b: &[u8]) -> Option<usize> {
    if a.len().abs_diff(b.len()) > MAX_EDITS || a.len() > MAX_LENGTH {
        return None;
    }
    let edits = strsim::generic_damerau_levenshtein(a, b);
    (edits <= MAX_EDITS).then_some(edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_if_it_is_near() {
        let known: [&[u8]; 4] = [b"buildInputs", b"builder", b"name", b"x"];
        let suggested = |name: &str| suggest(name.as_bytes(), known.iter().copied());
        assert_eq!(suggested("buildInput").as_deref(), Some("buildInputs"));
        assert_eq!(suggested("nmae").as_deref(), Some("name"));
        assert_eq!(suggested("y").as_deref(), Some("x"));
        assert_eq!(suggested("something"), None);
    }
}
