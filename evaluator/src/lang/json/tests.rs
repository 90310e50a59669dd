//! Reading and writing without an evaluator.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Vec<Event>, JsonError> {
    let mut reader = Reader::new(text.as_bytes());
    let (mut events, mut depth) = (Vec::new(), 0);
    loop {
        let event = reader.next()?;
        depth += i32::from(matches!(event, Event::BeginList | Event::BeginObject));
        depth -= i32::from(event == Event::End);
        let more = depth > 0 || matches!(event, Event::Key(_));
        events.push(event);
        if !more {
            reader.finish()?;
            return Ok(events);
        }
    }
}

fn float(float: f64) -> String {
    let mut text = Vec::new();
    write_float(&mut text, float);
    String::from_utf8(text).unwrap()
}

#[test]
fn numbers_keep_their_kind() {
    assert_eq!(read("-9223372036854775808"), Ok(vec![Event::Int(i64::MIN)]));
    assert_eq!(read("-9223372036854775809"), Ok(vec![Event::Float(-9_223_372_036_854_775_808.0)]));
    assert!(read("9223372036854775808").is_err());
    assert_eq!(read("1e2"), Ok(vec![Event::Float(100.0)]));
    for wrong in ["01", "1.", ".5", "+1", "1e", "1e999", "-", "NaN"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn strings_have_escapes_and_pairs() {
    let string = |text: &str| Ok(vec![Event::String(text.as_bytes().to_vec())]);
    assert_eq!(read(r#""a\u00e4\ud83d\ude00\/\n""#), string("aä😀/\n"));
    for wrong in [r#""\ud83d""#, r#""\udc00""#, r#""\x""#, "\"\n\"", r#"""#, r#""\u12""#] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn structure_is_checked() {
    assert_eq!(read("[]").unwrap(), [Event::BeginList, Event::End]);
    assert_eq!(read(r#" {"a":[1]} "#).unwrap().len(), 6);
    for wrong in
        ["", "[1,]", "[1 2]", "{\"a\" 1}", "{1:2}", "{\"a\":1,}", "[}", "[1", "1 2", "[1]]"]
    {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let deep = "[".repeat(1_000_000);
    assert!(read(&deep).is_err());
}

#[test]
fn floats_look_like_floats() {
    for (value, text) in [
        (1.0, "1.0"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.5, "1.5"),
        (1e15, "1e+15"),
        (1e14, "100000000000000.0"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (1.25e-7, "1.25e-07"),
        (1e100, "1e+100"),
        (f64::NAN, "null"),
        (123456789012345680.0, "1.2345678901234568e+17"),
    ] {
        assert_eq!(float(value), text);
    }
}

proptest! {
    #[test]
    fn strings_come_back(text: String) {
        let mut json = Vec::new();
        write_string(&mut json, text.as_bytes()).unwrap();
        let json = String::from_utf8(json).unwrap();
        prop_assert_eq!(read(&json), Ok(vec![Event::String(text.into_bytes())]));
    }

    #[test]
    fn floats_come_back(value: f64) {
        prop_assume!(value.is_finite());
        prop_assert_eq!(read(&float(value)), Ok(vec![Event::Float(value)]));
    }

    #[test]
    fn never_panics(text in "[\\[\\]{}\",:0-9eE+.a-z\\\\ -]{0,20}") {
        let _read = read(&text);
    }
}
