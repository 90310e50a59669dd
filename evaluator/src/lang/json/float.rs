//! Floats in JSON: as few digits as give the same float back, and always a sign of being one.

/// Writes a float. Infinities and what is no number become `null`, since JSON has neither.
///
/// Between 1e-5 and 1e15 the number is written out, beyond with an exponent of at least two digits.
pub fn write_float(json: &mut Vec<u8>, float: f64) {
    if !float.is_finite() {
        json.extend_from_slice(b"null");
        return;
    }
    // The standard library gives the shortest digits as `d.ddde-7`.
    let text = format!("{:e}", float.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    if float.is_sign_negative() {
        json.push(b'-');
    }
    let point = exponent + 1;
    let count = digits.len() as i32;
    if float == 0.0 {
        json.extend_from_slice(b"0.0");
    } else if count <= point && point <= 15 {
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
        let sign = if exponent < 0 { '-' } else { '+' };
        json.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    }
}
