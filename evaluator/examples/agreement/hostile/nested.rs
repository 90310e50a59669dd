//! Everything that nests, nested deeply; everything that goes on, going on.

/// Returns the texts, nested to a depth, with names for them.
pub(super) fn texts(depth: usize) -> Vec<(String, Vec<u8>)> {
    let mut texts = Vec::new();
    let mut add = |name: &str, text: Vec<u8>| texts.push((name.to_owned(), text));
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "", "]"),
        ("{a=", "1", ";}"),
        ("rec{a=", "1", ";}"),
        ("let a=", "1", ";in a "),
        ("let {body=", "1", ";}"),
        ("\"${", "\"\"", "}\""),
        ("''${", "''''", "}''"),
        ("{${", "\"a\"", "}=1;}"),
        ("(x:", "1", ")"),
        ("{a ? ", "1", "}: a "),
        ("{ \"a\" : ", "1", "}"),
        ("{a=", "1", "}"),
        ("a(", "", ")"),
        ("a.${", "b", "}"),
        ("/${", "\"a\"", "}"),
        ("Derive([", "", "])"),
        ("([", "", "])"),
        ("((", "a", ")*)*"),
        ("(a|", "b", "){2}"),
        ("[a.", "b", "]\n"),
    ] {
        let unfinished = open.repeat(depth);
        let whole = format!("{unfinished}{middle}{}", close.repeat(depth));
        add(&format!("{open}…{close}"), whole.into_bytes());
        add(&format!("{open}…"), unfinished.into_bytes());
    }
    // To read some of these takes time in proportion to the square of the length, as in Nix.
    let often = depth / 10;
    for repeated in [
        "-",
        "!",
        "x: ",
        "a.",
        "a@",
        "if ",
        "assert ",
        "with ",
        "with a; ",
        "assert a; ",
        "1 + ",
        "1 // ",
        "a ++ ",
        "a -> ",
        "a == ",
        "a ? b ",
        "a or ",
        "a.b or ",
        "a ",
        "/* ",
        "# ",
        "\"",
        "'",
        "''",
        "'''",
        "''$",
        "$",
        "${",
        "\\",
        "<",
        "~/",
        "../",
        "/a",
        "a/b/",
        "a:b",
        "inherit ",
        "inherit(",
        "...",
        ",",
        ";",
        "}",
        "]",
        ")",
        "\0",
        "\u{feff}",
        "\u{1f600}",
        "\r",
        "\n",
        "1.e",
        "1e9",
        "99999999999",
        "0",
        "|> ",
        "<| ",
        "a = 1; ",
        "[[a]]\n",
        "a.b=1\n",
        "\\u",
        "?a=b&",
        "%",
        "%2",
        "#",
        "{1,2}",
        "(a*)*",
        "[[:alpha:]",
        "a{",
        "|",
        "^",
        "$^",
    ] {
        add(&format!("{repeated:?} again and again"), repeated.repeat(often).into_bytes());
        add(
            &format!("{{ {repeated:?} again and again"),
            format!("{{ {}", repeated.repeat(often)).into_bytes(),
        );
    }
    for byte in [0_u8, 0x80, 0xc3, 0xff] {
        add(&format!("{byte:#x} again and again"), vec![byte; often]);
        for start in ["\"", "''", "a", "/", "#", "/*", "\"${", "{\"a\":\"", "Derive([(\"", "a = \""]
        {
            let mut text = start.as_bytes().to_vec();
            text.push(byte);
            text.extend_from_slice(start.as_bytes());
            add(&format!("{byte:#x} in `{start}`"), text);
        }
    }
    texts
}
