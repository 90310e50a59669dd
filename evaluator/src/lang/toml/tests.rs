//! Documents of every shape; what Nix makes of them is compared in `evaluator/tests/lang/`.

use proptest::prelude::*;

use super::*;

fn table(entries: &[(&str, Toml)]) -> Toml {
    Toml::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn parse(text: &str) -> Result<Toml, TomlError> {
    super::parse(text, Dates::Refused)
}

fn error(text: &str) -> TomlErrorKind {
    parse(text).unwrap_err().what
}

#[test]
fn keys_and_headers_make_tables() {
    let one = Toml::Int(1);
    let nested = table(&[("b", table(&[("c", one.clone())]))]);
    for text in [
        "a.b.c = 1",
        "[a.b]\nc = 1",
        "[a]\nb.c = 1",
        "a = { b.c = 1 }",
        "[a]\n[a.b]\n\"c\" = 1",
        "[a.b]\nc = 1\n[a]",
    ] {
        assert_eq!(parse(text), Ok(table(&[("a", nested.clone())])), "{text}");
    }
    let array =
        Toml::Array(vec![table(&[("x", one.clone())]), table(&[("y", table(&[("z", one)]))])]);
    assert_eq!(parse("[[a]]\nx = 1 # one\r\n[[a]]\n[a.y]\nz = 1"), Ok(table(&[("a", array)])));
}

#[test]
fn nothing_is_defined_twice() {
    for text in [
        "a = 1\na = 2",
        "[a]\n[a]",
        "[a]\nb = 1\n[a.b]",
        "a = {}\n[a.b]",
        "a = []\n[[a]]",
        "a.b = 1\n[a]",
        "[[a]]\n[a]",
        "[a]\n[[a]]",
        "a = { b = 1 }\na.c = 2",
        "[a.b]\n[a]\nb.c = 1",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn scalars_are_read() {
    let value = |text: &str| match parse(&format!("x = {text}")) {
        Ok(Toml::Table(mut table)) => table.remove("x"),
        _ => None,
    };
    for (text, expected) in [
        ("1_000", Toml::Int(1000)),
        ("-0", Toml::Int(0)),
        ("0xdead_BEEF", Toml::Int(0xdead_beef)),
        ("0o17", Toml::Int(15)),
        ("0b11", Toml::Int(3)),
        ("+1.5e-3", Toml::Float(0.0015)),
        ("1e3", Toml::Float(1000.0)),
        ("-inf", Toml::Float(f64::NEG_INFINITY)),
        ("true", Toml::Bool(true)),
        (r#""a\u00e4\n""#, Toml::String("aä\n".into())),
        ("'a\\n'", Toml::String("a\\n".into())),
        ("\"\"\"\na\\\n   b\"\"\"\"\"", Toml::String("ab\"\"".into())),
        ("'''\na'b'''''", Toml::String("a'b''".into())),
        (
            "[ 1, [ 2, ], # two\n ]",
            Toml::Array(vec![Toml::Int(1), Toml::Array(vec![Toml::Int(2)])]),
        ),
    ] {
        assert_eq!(value(text), Some(expected), "{text}");
    }
    for wrong in [
        "01",
        "1__0",
        "_1",
        "1_",
        "1.",
        ".1",
        "1.e1",
        "0x",
        "+0x1",
        "9223372036854775808",
        "True",
        "\"\\x\"",
        "\"a\nb\"",
        "'a\nb'",
        "[1 2]",
        "{a = 1,}",
        "{a = 1\n}",
        "",
        "1 2",
        "\"\\ud800\"",
        "1e1.5",
    ] {
        assert_eq!(value(wrong), None, "{wrong}");
    }
    for date in ["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00"] {
        assert_eq!(error(&format!("x = {date}")), TomlErrorKind::Date);
    }
    assert_eq!(error(&format!("x = {}", "[".repeat(100_000))), TomlErrorKind::Depth);
    assert_eq!(parse("a = 1\n b = ?").unwrap_err().line, 2);
}

#[test]
fn dates_are_read_if_they_are_wanted() {
    let read = |text: &str| super::parse(text, Dates::Read);
    let date = |text: &str| Toml::Date(text.to_owned());
    let expected = [
        ("day", date("1979-05-27")),
        ("both", date("1979-05-27T07:32:00.100Z")),
        ("list", Toml::Array(vec![date("07:32:00"), date("1979-05-27T07:32:00+01:00")])),
        ("last", Toml::Int(1)),
    ];
    let text = "day = 1979-05-27 # a day\nboth = 1979-05-27 07:32:00.1z\n\
                list = [07:32:00, 1979-05-27t07:32:00+01:00]\nlast = 1";
    assert_eq!(read(text), Ok(table(&expected)));
    let wrong = read("a = 1\nb = 1979-02-29").unwrap_err();
    assert_eq!((wrong.line, wrong.column), (2, 5));
    assert!(matches!(wrong.what, TomlErrorKind::Expected(_)), "{wrong}");
}

/// A value without dates, which have no form of their own.
fn any_value() -> impl Strategy<Value = Toml> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Toml::String),
        any::<i64>().prop_map(Toml::Int),
        any::<f64>().prop_filter("no number", |float| !float.is_nan()).prop_map(Toml::Float),
        any::<bool>().prop_map(Toml::Bool),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Toml::Array),
            proptest::collection::btree_map(any::<String>(), inner, 0..4).prop_map(Toml::Table),
        ]
    })
}

fn quoted(text: &str) -> String {
    let escaped: String = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
    format!("\"{escaped}\"")
}

/// Writes a value on one line.
fn written(value: &Toml) -> String {
    match value {
        Toml::String(text) => quoted(text),
        Toml::Int(number) => number.to_string(),
        // As Rust writes them, floats have a point or an exponent.
        Toml::Float(number) => format!("{number:?}"),
        Toml::Bool(value) => value.to_string(),
        Toml::Date(date) => date.clone(),
        Toml::Array(values) => {
            let values: Vec<String> = values.iter().map(written).collect();
            format!("[{}]", values.join(", "))
        }
        Toml::Table(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", quoted(key), written(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

proptest! {
    #[test]
    fn reads_what_is_written(value in any_value(), key: String) {
        let text = format!("{} = {}\n", quoted(&key), written(&value));
        prop_assert_eq!(parse(&text), Ok(table(&[(&key, value)])), "{}", text);
    }

    #[test]
    fn never_panics(text in "[\\[\\]{}=.,\"'\\\\#ax0-9ntuU+_:TZ \n-]{0,24}") {
        let _parsed = super::parse(&text, Dates::Read);
    }
}
