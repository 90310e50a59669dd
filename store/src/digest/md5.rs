//! MD5 (RFC 1321), because Nix still computes and accepts it.
//!
//! Broken as a cryptographic hash; nothing of levain's own relies on it. Start at [`md5`].

use super::blocks;

/// How far each of the 64 steps rotates.
const ROTATIONS: [[u32; 4]; 4] =
    [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// Returns the MD5 of `bytes`.
pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    let constants = constants();
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    blocks(bytes, u64::to_le_bytes, |block| {
        let mut words = [0u32; 16];
        for (word, chunk) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        }
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, index) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), (7 * step) % 16),
            };
            let sum =
                a.wrapping_add(mixed).wrapping_add(constants[step]).wrapping_add(words[index]);
            a = d;
            d = c;
            c = b;
            b = b.wrapping_add(sum.rotate_left(ROTATIONS[step / 16][step % 4]));
        }
        for (word, add) in state.iter_mut().zip([a, b, c, d]) {
            *word = word.wrapping_add(add);
        }
    });
    let mut digest = [0; 16];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// Returns the additive constants: the first 32 bits behind the point of |sin(1)|, |sin(2)|, …
///
/// Computed rather than listed; the test of known digests would notice an imprecise sine.
fn constants() -> [u32; 64] {
    let mut constants = [0; 64];
    for (index, constant) in (1u32..).zip(&mut constants) {
        *constant = (f64::from(index).sin().abs() * 4_294_967_296.0) as u32;
    }
    constants
}
