//! Numbers.

use super::{Toml, TomlErrorKind};

/// Reads a word that is neither a string, a Boolean nor a bracket.
pub(super) fn parse(word: &str) -> Result<Toml, TomlErrorKind> {
    let expected = || TomlErrorKind::Expected("a value");
    let (sign, digits) = match word.as_bytes().first() {
        Some(b'-') => ("-", &word[1..]),
        Some(b'+') => ("", &word[1..]),
        Some(_) => ("", word),
        None => return Err(expected()),
    };
    match digits {
        "inf" if sign == "-" => return Ok(Toml::Float(f64::NEG_INFINITY)),
        "inf" => return Ok(Toml::Float(f64::INFINITY)),
        "nan" if sign == "-" => return Ok(Toml::Float(-f64::NAN)),
        "nan" => return Ok(Toml::Float(f64::NAN)),
        _ => {}
    }
    if digits.len() == word.len() {
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if let Some(rest) = digits.strip_prefix(prefix) {
                let plain = without_underscores(rest, |byte| char::from(byte).is_digit(radix));
                let number = plain.and_then(|plain| i64::from_str_radix(&plain, radix).ok());
                return number.map(Toml::Int).ok_or_else(expected);
            }
        }
    }
    number(sign, digits).ok_or_else(expected)
}

/// Returns digits without the underscores between them; each needs a digit on either side.
fn without_underscores(text: &str, digit: impl Fn(u8) -> bool) -> Option<String> {
    let ends = text.starts_with('_') || text.ends_with('_');
    if text.is_empty() || ends || text.contains("__") {
        return None;
    }
    let plain = text.replace('_', "");
    plain.bytes().all(digit).then_some(plain)
}

fn number(sign: &str, text: &str) -> Option<Toml> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digit = |byte: u8| byte.is_ascii_digit();
    let whole = without_underscores(whole, digit)?;
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    if fraction.is_none() && exponent.is_none() {
        return format!("{sign}{whole}").parse().ok().map(Toml::Int);
    }
    let mut plain = format!("{sign}{whole}");
    if let Some(fraction) = fraction {
        plain.push('.');
        plain.push_str(&without_underscores(fraction, digit)?);
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        plain.push('e');
        if exponent.starts_with('-') {
            plain.push('-');
        }
        plain.push_str(&without_underscores(digits, digit)?);
    }
    plain.parse().ok().map(Toml::Float)
}
