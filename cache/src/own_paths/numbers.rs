//! Reads the numbers of a text as the bytes that they stand for, as in an array of C or in the output
//! of a compiler. Everything between the numbers is passed over.

/// Returns the bytes that the text's numbers stand for.
pub(super) fn bytes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let alone = at == 0 || !text[at - 1].is_ascii_alphanumeric();
        let (digits, radix) = match (byte, rest.get(1)) {
            (b'\\', Some(b'x')) => (2..2 + hexadecimal(&rest[2..], 2), 16),
            (b'\\', Some(b'u')) => (2..2 + hexadecimal(&rest[2..], 4), 16),
            (b'\\', Some(b'0'..=b'7')) => (1..1 + count(&rest[1..], 3, is_octal), 8),
            (b'0', Some(b'x' | b'X')) if alone => (2..2 + hexadecimal(&rest[2..], 16), 16),
            (b'0'..=b'9', _) if alone => (0..count(rest, 20, u8::is_ascii_digit), 10),
            _ => {
                at += 1;
                continue;
            }
        };
        at += digits.end.max(1);
        let digits = str::from_utf8(&rest[digits]).unwrap_or_default();
        if let Ok(number) = u64::from_str_radix(digits, radix) {
            let size = match number {
                0..=0xff => 1,
                0x100..=0xffff_ffff => 4,
                0x1_0000_0000.. => 8,
            };
            out.extend_from_slice(&number.to_le_bytes()[..size]);
        }
    }
    out
}

fn is_octal(byte: &u8) -> bool {
    (b'0'..=b'7').contains(byte)
}

fn hexadecimal(text: &[u8], most: usize) -> usize {
    count(text, most, u8::is_ascii_hexdigit)
}

fn count(text: &[u8], most: usize, class: impl Fn(&u8) -> bool) -> usize {
    text.iter().take(most).take_while(|byte| class(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_bytes() {
        for (text, expected) in [
            ("{ 97, 98,\n 99 }", "abc"),
            ("0x61,0X62 , 0x63", "abc"),
            (r"\x61b\x63", "ac"),
            (r"\141\142\60", "ab0"),
            ("movl $1684234849, x86", "abcd"),
            ("x97 a0x61", ""),
            ("", ""),
            ("\\", ""),
            ("0x", ""),
            ("99999999999999999999", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&bytes(text.as_bytes())), expected, "{text}");
        }
    }
}
