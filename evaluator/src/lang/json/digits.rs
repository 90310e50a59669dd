//! The decimal digits of a float, as the Grisu2 algorithm finds them (Loitsch, PLDI 2010).
//!
//! The digits always give the same float back, and nearly always are the fewest that do. Nix's library
//! uses this algorithm, and its output is part of derivations, so that the one float in a thousand for
//! which it finds a digit too many matters. The powers of ten are computed exactly and then rounded,
//! rather than listed. Start at [`digits`].

/// A number `significand * 2^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scaled {
    significand: u64,
    exponent: i32,
}

impl Scaled {
    fn normalised(self) -> Self {
        let shift = self.significand.leading_zeros();
        Scaled { significand: self.significand << shift, exponent: self.exponent - shift as i32 }
    }

    /// Multiplies and rounds to 64 bits.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.significand) * u128::from(other.significand);
        let significand = ((product + (1 << 63)) >> 64) as u64;
        Scaled { significand, exponent: self.exponent + other.exponent + 64 }
    }
}

/// Returns digits and a power of ten: `0.0123` is `123` and -4. The float is finite and above zero.
pub(super) fn digits(float: f64) -> (Vec<u8>, i32) {
    const HIDDEN: u64 = 1 << 52;
    const BIAS: i32 = 1075;
    let bits = float.to_bits();
    let (fraction, exponent) = (bits & (HIDDEN - 1), (bits >> 52) as i32 & 0x7ff);
    let value = if exponent == 0 {
        Scaled { significand: fraction, exponent: 1 - BIAS }
    } else {
        Scaled { significand: fraction | HIDDEN, exponent: exponent - BIAS }
    };
    // Half way to the neighbours; the lower one of a power of two is nearer.
    let upper = Scaled { significand: 2 * value.significand + 1, exponent: value.exponent - 1 };
    let lower = if fraction == 0 && exponent > 1 {
        Scaled { significand: 4 * value.significand - 1, exponent: value.exponent - 2 }
    } else {
        Scaled { significand: 2 * value.significand - 1, exponent: value.exponent - 1 }
    };
    let upper = upper.normalised();
    let lower = lower.significand << (lower.exponent - upper.exponent);
    let lower = Scaled { significand: lower, exponent: upper.exponent };
    let (power, ten) = power_for(upper.exponent);
    let value = value.normalised().times(power);
    // Each product may be wrong by one in its last place.
    let (lower, upper) = (lower.times(power), upper.times(power));
    generate(lower.significand + 1, value.significand, upper.significand - 1, upper.exponent, -ten)
}

/// Generates digits of a number between `lower` and `upper`, as near to `value` as that is easy.
fn generate(lower: u64, value: u64, upper: u64, exponent: i32, mut ten: i32) -> (Vec<u8>, i32) {
    let shift = -exponent as u32;
    let one = 1u64 << shift;
    let (mut delta, mut distance) = (upper - lower, upper - value);
    let (mut whole, mut part) = (upper >> shift, upper & (one - 1));
    let mut digits = Vec::with_capacity(17);
    let mut place = whole.max(1).ilog10();
    loop {
        let unit = 10u64.pow(place);
        digits.push((whole / unit) as u8);
        whole %= unit;
        let rest = (whole << shift) + part;
        if rest <= delta {
            round(&mut digits, distance, delta, rest, unit << shift);
            return (digits, ten + place as i32);
        }
        if place == 0 {
            break;
        }
        place -= 1;
    }
    loop {
        part *= 10;
        digits.push((part >> shift) as u8);
        part &= one - 1;
        ten -= 1;
        delta *= 10;
        distance *= 10;
        if part <= delta {
            round(&mut digits, distance, delta, part, one);
            return (digits, ten);
        }
    }
}

/// Takes the last digit down while that brings the number nearer to the float.
fn round(digits: &mut [u8], distance: u64, delta: u64, mut rest: u64, unit: u64) {
    let Some(last) = digits.last_mut() else { return };
    while rest < distance
        && delta - rest >= unit
        && (rest + unit < distance || distance - rest > rest + unit - distance)
    {
        *last -= 1;
        rest += unit;
    }
}

/// Returns the power of ten that brings a number with this exponent into the range in which digits are
/// generated, and its exponent. Only every eighth power is used, as by the library.
fn power_for(exponent: i32) -> (Scaled, i32) {
    let wanted = -61 - exponent;
    let ten = wanted * 78913 / (1 << 18) + i32::from(wanted > 0);
    let ten = (307 + ten) / 8 * 8 - 300;
    (power(ten), ten)
}

/// Returns `10^ten`, rounded to 64 bits.
fn power(ten: i32) -> Scaled {
    let mut number = Big(vec![1]);
    for _ in 0..ten.unsigned_abs() {
        number.times_ten();
    }
    let length = number.bits();
    // The quotient of the number, or of one by it, bit by bit; one more bit for rounding.
    let (mut significand, next) = if ten >= 0 {
        let bit = |index: i32| u64::from(index >= 0 && number.bit(index as usize));
        let taken = (1..=64).fold(0, |taken, place| taken << 1 | bit(length - place));
        (taken, bit(length - 65) == 1)
    } else {
        let mut rest = Big::power_of_two(length as usize - 1);
        let mut taken = 0;
        for _ in 0..64 {
            taken = taken << 1 | u64::from(rest.double_modulo(&number));
        }
        (taken, rest.double_modulo(&number))
    };
    let mut exponent = if ten >= 0 { length - 64 } else { -length - 63 };
    if next {
        significand = significand.wrapping_add(1);
        if significand == 0 {
            significand = 1 << 63;
            exponent += 1;
        }
    }
    Scaled { significand, exponent }
}

/// A large natural number: 32 bits per element, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Big(Vec<u32>);

impl Big {
    fn power_of_two(exponent: usize) -> Self {
        let mut parts = vec![0; exponent / 32 + 1];
        parts[exponent / 32] = 1 << (exponent % 32);
        Big(parts)
    }

    fn bits(&self) -> i32 {
        let top = self.0.iter().rposition(|part| *part != 0).unwrap_or_default();
        let part = self.0.get(top).copied().unwrap_or_default();
        top as i32 * 32 + 32 - part.leading_zeros() as i32
    }

    fn bit(&self, index: usize) -> bool {
        self.0.get(index / 32).is_some_and(|part| part >> (index % 32) & 1 == 1)
    }

    fn times_ten(&mut self) {
        let mut carry = 0;
        for part in &mut self.0 {
            let product = u64::from(*part) * 10 + carry;
            *part = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Doubles, then subtracts `modulus` if that is not larger; returns whether it did.
    fn double_modulo(&mut self, modulus: &Big) -> bool {
        let mut carry = 0;
        for part in &mut self.0 {
            let doubled = *part << 1 | carry;
            carry = *part >> 31;
            *part = doubled;
        }
        if carry > 0 {
            self.0.push(carry);
        }
        let length = self.0.len().max(modulus.0.len());
        let part = |big: &Big, index: usize| big.0.get(index).copied().unwrap_or_default();
        let order = (0..length)
            .rev()
            .map(|index| part(self, index).cmp(&part(modulus, index)))
            .find(|order| order.is_ne());
        if order.is_some_and(std::cmp::Ordering::is_lt) {
            return false;
        }
        let mut borrow = 0;
        for (index, own) in self.0.iter_mut().enumerate() {
            let less = u64::from(part(modulus, index)) + borrow;
            borrow = u64::from(u64::from(*own) < less);
            *own = (u64::from(*own) + (borrow << 32) - less) as u32;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn powers_are_rounded_correctly() {
        // From the table in the paper's code.
        let scaled = |significand, exponent| Scaled { significand, exponent };
        assert_eq!(power(-300), scaled(0xab70_fe17_c79a_c6ca, -1060));
        assert_eq!(power(-4), scaled(0xd1b7_1758_e219_652c, -77));
        assert_eq!(power(4), scaled(0x9c40_0000_0000_0000, -50));
        assert_eq!(power(324), scaled(0x9e19_db92_b4e3_1ba9, 1013));
    }

    #[test]
    fn limits_have_digits() {
        assert_eq!(digits(5e-324), (vec![5], -324));
        assert_eq!(
            digits(f64::MAX),
            (vec![1, 7, 9, 7, 6, 9, 3, 1, 3, 4, 8, 6, 2, 3, 1, 5, 7], 292)
        );
        assert_eq!(digits(0.1), (vec![1], -1));
        assert_eq!(digits(123_456.0), (vec![1, 2, 3, 4, 5, 6], 0));
    }

    proptest! {
        #[test]
        fn digits_give_the_float_back(float in prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL) {
            let float = float.abs();
            prop_assume!(float > 0.0 && float.is_finite());
            let (digits, ten) = digits(float);
            let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
            prop_assert!(digits.len() <= 17);
            prop_assert_eq!(format!("{text}e{ten}").parse(), Ok(float));
        }
    }
}
