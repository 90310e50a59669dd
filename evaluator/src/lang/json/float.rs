//! Floats in JSON: digits that give the same float back, and always a sign of being a float.

use super::digits::digits;

/// Writes a float. Infinities and what is no number become `null`, since JSON has neither.
///
/// Between 1e-5 and 1e15 the number is written out, beyond with an exponent of at least two digits.
pub fn write_float(json: &mut Vec<u8>, float: f64) {
    if !float.is_finite() {
        json.extend_from_slice(b"null");
        return;
    }
    if float.is_sign_negative() {
        json.push(b'-');
    }
    if float == 0.0 {
        json.extend_from_slice(b"0.0");
        return;
    }
    let (mut digits, ten) = digits(float.abs());
    digits.iter_mut().for_each(|digit| *digit += b'0');
    let count = digits.len() as i32;
    let point = count + ten;
    if count <= point && point <= 15 {
        json.extend_from_slice(&digits);
        json.extend((count..point).map(|_| b'0'));
        json.extend_from_slice(b".0");
    } else if 0 < point && point <= 15 {
        json.extend_from_slice(&digits[..point as usize]);
        json.push(b'.');
        json.extend_from_slice(&digits[point as usize..]);
    } else if -4 < point && point <= 0 {
        json.extend_from_slice(b"0.");
        json.extend((point..0).map(|_| b'0'));
        json.extend_from_slice(&digits);
    } else {
        json.push(digits.first().copied().unwrap_or(b'0'));
        if count > 1 {
            json.push(b'.');
            json.extend_from_slice(&digits[1..]);
        }
        let exponent = point - 1;
        let sign = if exponent < 0 { '-' } else { '+' };
        json.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    }
}
