//! Values as texts: as `nix-instantiate --eval` prints them, and shortened for messages.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::error::{Error, ErrorKind, Result};
use super::eval::Evaluator;
use super::source::Span;
use super::value::Value;

/// Longer strings are cut in messages.
const MAX_DESCRIBED: usize = 60;

/// Nix keeps lists of at most this length within their values.
const SMALL_LIST: usize = 2;

/// Returns a value as `nix-instantiate --eval` prints it; what is not evaluated is `<CODE>`.
///
/// A value may be nested as deeply as calls may be.
pub fn print_ambiguous(evaluator: &Evaluator, value: &Value) -> Result<Vec<u8>> {
    print(evaluator, value, Style::Ambiguous)
}

/// Returns a value as `trace` shows it: like [`print_ambiguous`], but with what is known about
/// functions and about what is not evaluated.
pub fn print_traced(evaluator: &Evaluator, value: &Value) -> Result<Vec<u8>> {
    print(evaluator, value, Style::Traced)
}

fn print(evaluator: &Evaluator, value: &Value, style: Style) -> Result<Vec<u8>> {
    let seen = BTreeSet::new();
    let mut printer = Printer { evaluator, style, seen, text: Vec::new(), depth: 0 };
    printer.value(value)?;
    Ok(printer.text)
}

/// How what is not data is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `<LAMBDA>`
    Ambiguous,
    /// `«lambda f @ /a.nix:1:2»`
    Traced,
}

struct Printer<'a> {
    evaluator: &'a Evaluator,
    style: Style,
    /// The lists and sets that were printed already, by their addresses.
    seen: BTreeSet<usize>,
    text: Vec<u8>,
    depth: usize,
}

impl Printer<'_> {
    fn value(&mut self, value: &Value) -> Result<()> {
        if self.depth > self.evaluator.options.settings.max_call_depth {
            return Err(Error::new(ErrorKind::CallDepth, Span::NONE));
        }
        self.evaluator.check_stack(Span::NONE)?;
        let place =
            if let Value::Thunk(thunk) = value { Some(Rc::as_ptr(thunk).addr()) } else { None };
        let Some(value) = value.evaluated() else {
            let busy = matches!(value, Value::Thunk(thunk) if thunk.is_being_evaluated());
            // It may have a value later, when this is done.
            self.other("<CODE>", || {
                if busy { "potential infinite recursion" } else { "thunk" }.to_owned()
            });
            return Ok(());
        };
        match value {
            Value::Null => self.text.extend_from_slice(b"null"),
            Value::Bool(true) => self.text.extend_from_slice(b"true"),
            Value::Bool(false) => self.text.extend_from_slice(b"false"),
            Value::Int(number) => self.text.extend_from_slice(number.to_string().as_bytes()),
            Value::Float(number) => self.text.extend_from_slice(float(*number).as_bytes()),
            Value::String(string) => quote(string.bytes(), &mut self.text),
            Value::Path(path) => self.text.extend_from_slice(path.bytes()),
            Value::List(list) => {
                // Nix keeps short lists within values, so what is repeated is the value.
                let small = place.filter(|_| list.len() <= SMALL_LIST);
                let identity = small.unwrap_or_else(|| Rc::as_ptr(list).addr());
                if !list.is_empty() && !self.seen.insert(identity) {
                    self.text.extend_from_slice("«repeated»".as_bytes());
                    return Ok(());
                }
                self.text.extend_from_slice(b"[ ");
                self.depth += 1;
                for element in list.iter() {
                    self.value(element)?;
                    self.text.push(b' ');
                }
                self.depth -= 1;
                self.text.push(b']');
            }
            Value::Attrs(attrs) => {
                if !attrs.is_empty() && !self.seen.insert(Rc::as_ptr(attrs).addr()) {
                    self.text.extend_from_slice("«repeated»".as_bytes());
                    return Ok(());
                }
                self.text.extend_from_slice(b"{ ");
                self.depth += 1;
                for attr in attrs.sorted(&self.evaluator.symbols) {
                    name(self.evaluator.symbols.name(attr.name), &mut self.text);
                    self.text.extend_from_slice(b" = ");
                    self.value(&attr.value)?;
                    self.text.extend_from_slice(b"; ");
                }
                self.depth -= 1;
                self.text.push(b'}');
            }
            Value::Closure(closure) => {
                let evaluator = self.evaluator;
                self.other("<LAMBDA>", || {
                    let name = closure.lambda.name.map(|name| evaluator.symbols.text(name));
                    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                    let place = evaluator.sources.place(closure.lambda.span);
                    let place = place.map(|place| format!(" @ {place}")).unwrap_or_default();
                    format!("lambda{name}{place}")
                });
            }
            Value::Builtin(builtin) => {
                self.other("<PRIMOP>", || format!("primop {}", builtin.name));
            }
            Value::Partial(partial) => self.other("<PRIMOP-APP>", || {
                format!("partially applied primop {}", partial.builtin.name)
            }),
            Value::Thunk(_) => self.other("<CODE>", || "thunk".to_owned()),
        }
        Ok(())
    }

    /// Writes something that is not data.
    fn other(&mut self, ambiguous: &str, known: impl FnOnce() -> String) {
        match self.style {
            Style::Ambiguous => self.text.extend_from_slice(ambiguous.as_bytes()),
            Style::Traced => self.text.extend_from_slice(format!("«{}»", known()).as_bytes()),
        }
    }
}

/// Writes a string as an expression.
pub fn quote(bytes: &[u8], text: &mut Vec<u8>) {
    text.push(b'"');
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            b'$' if bytes.get(index + 1) == Some(&b'{') => text.extend_from_slice(b"\\$"),
            other => text.push(*other),
        }
    }
    text.push(b'"');
}

/// Writes the name of an attribute, in quotes if it needs them.
pub fn name(bytes: &[u8], text: &mut Vec<u8>) {
    let starts = bytes.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    let goes_on =
        bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'\'' | b'-'));
    let keyword: [&[u8]; 9] =
        [b"if", b"then", b"else", b"assert", b"with", b"let", b"in", b"rec", b"inherit"];
    if starts && goes_on && !keyword.contains(&bytes) {
        text.extend_from_slice(bytes);
    } else {
        quote(bytes, text);
    }
}

/// Returns a float with six significant digits, as C's `%g` does.
pub fn float(number: f64) -> String {
    general(number, 6)
}

/// Returns a float as C's `%.{digits}g` does.
pub fn general(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let digits = digits.max(1);
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    without_zeros(&format!("{number:.decimals$}")).to_owned()
}

/// Removes the zeros at the end of a fraction.
fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// Returns a float with six digits after the point, as `toString` does.
pub fn fixed(number: f64) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    format!("{number:.6}")
}

/// Returns the type of a value, and the value itself if it is short.
pub fn described(evaluator: &Evaluator, value: &Value) -> String {
    let kind = value.kind();
    let shown = match value.evaluated() {
        Some(
            shown @ (Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::Path(_)),
            // None of these is nested.
        ) => print_ambiguous(evaluator, shown).unwrap_or_default(),
        Some(
            Value::Null
            | Value::List(_)
            | Value::Attrs(_)
            | Value::Closure(_)
            | Value::Builtin(_)
            | Value::Partial(_)
            | Value::Thunk(_),
        )
        | None => return kind.to_owned(),
    };
    let text = String::from_utf8_lossy(&shown);
    if text.chars().count() > MAX_DESCRIBED {
        let start: String = text.chars().take(MAX_DESCRIBED).collect();
        return format!("{kind}: `{start}…`");
    }
    format!("{kind}: `{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_printed_as_c_does() {
        for (number, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e10, "1e+10"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.23457e+06"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (-0.0, "-0"),
        ] {
            assert_eq!(float(number), text);
        }
        assert_eq!(fixed(0.5), "0.500000");
    }
}
