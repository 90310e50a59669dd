//! Nix's own base 32: another alphabet, and the bits in reverse order.
//!
//! Not RFC 4648. Start at [`encode`] and [`decode`].

/// The digits, in ascending order of value and of ASCII; `e`, `o`, `t` and `u` are left out.
const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// What a byte is worth as a digit; 255 if it is none.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Returns the number of digits that `bytes` bytes need.
pub const fn encoded_len(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// Returns `bytes` in Nix's base 32.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = vec![0; encoded_len(bytes.len())];
    // Five bytes are eight digits, and the first bytes are the last digits.
    for (bytes, digits) in bytes.chunks(5).zip(text.rchunks_mut(8)) {
        let value = bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit = ALPHABET[(value >> (5 * place) & 0x1f) as usize];
        }
    }
    String::from_utf8(text).expect("the alphabet is ASCII")
}

/// Returns whether a text consists of digits.
pub(crate) fn is_text(text: &str) -> bool {
    text.bytes().all(|character| VALUES[usize::from(character)] != 255)
}

/// Returns the `N` bytes written as `text`, or `None` if it has another length, a digit outside the
/// alphabet, or bits beyond the last byte.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != encoded_len(N) {
        return None;
    }
    let mut bytes = [0u8; N];
    for (digit, character) in text.bytes().rev().enumerate() {
        let value = u16::from(VALUES[usize::from(character)]);
        if value == 255 {
            return None;
        }
        let (index, shift) = (digit * 5 / 8, digit * 5 % 8);
        let spread = (value << shift).to_le_bytes();
        bytes[index] |= spread[0];
        match bytes.get_mut(index + 1) {
            Some(next) => *next |= spread[1],
            None if spread[1] != 0 => return None,
            None => {}
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_a_digest_of_nix() {
        // `nix hash to-base32 sha256:e3b0…` of the empty string.
        let empty = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        let bytes = decode::<32>(empty).unwrap();
        assert_eq!(&bytes[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(encode(&bytes), empty);
    }

    #[test]
    fn refuses_other_digits_lengths_and_spare_bits() {
        assert_eq!(decode::<20>(&"e".repeat(32)), None);
        assert_eq!(decode::<20>(&"0".repeat(31)), None);
        // 52 digits hold 260 bits, so the first digit of a 256-bit number is 0 or 1.
        assert_eq!(decode::<32>(&"z".repeat(52)), None);
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 32], digest: [u8; 20]) {
            prop_assert_eq!(decode::<32>(&encode(&bytes)), Some(bytes));
            prop_assert_eq!(decode::<20>(&encode(&digest)), Some(digest));
        }

        #[test]
        fn never_panics(text: String) {
            decode::<20>(&text);
            decode::<32>(&text);
        }
    }
}
