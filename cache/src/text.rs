//! The text form of manifests and states: lines of fields with a tab between them.
//!
//! Fields are bytes, because file names are. A backslash, a tab and a line feed are written `\\`,
//! `\t` and `\n`. Knows nothing of what the fields mean.

use std::borrow::Cow;

/// Appends one line.
pub(crate) fn write_line(out: &mut Vec<u8>, fields: &[&[u8]]) {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b'\t');
        }
        let special = |byte: &u8| matches!(byte, b'\\' | b'\t' | b'\n');
        let mut rest = *field;
        while let Some(at) = rest.iter().position(special) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(match rest[at] {
                b'\t' => b"\\t",
                b'\n' => b"\\n",
                _ => b"\\\\",
            });
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    }
    out.push(b'\n');
}

/// Splits a line into its fields; none if an escape is unknown.
pub(crate) fn read_line(line: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    line.split(|&byte| byte == b'\t').map(unescape).collect()
}

fn unescape(field: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !field.contains(&b'\\') {
        return Some(Cow::Borrowed(field));
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b't' => b'\t',
                b'n' => b'\n',
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(Cow::Owned(plain))
}

/// Reads a decimal number as it is written here.
pub(crate) fn number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_fields_come_back(fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..5)) {
            let mut out = Vec::new();
            let borrowed: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            write_line(&mut out, &borrowed);
            prop_assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
            let back = read_line(&out[..out.len() - 1]).unwrap();
            prop_assert_eq!(back.iter().map(|f| f.to_vec()).collect::<Vec<_>>(), fields);
        }
    }
}
