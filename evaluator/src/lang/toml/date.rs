//! Dates and times, as RFC 3339 and TOML 1.0 write them.
//!
//! They become texts of one form: `T` between date and time, and as many digits of a second as Nix
//! writes, which are none, three, six or nine.

/// Returns whether a word begins like a date (`1979-05-27`) or a time (`07:32`).
pub(super) fn begins(word: &[u8]) -> bool {
    let shaped = |shape: &[u8]| {
        word.len() >= shape.len()
            && word.iter().zip(shape).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    shaped(b"0000-00-00") || shaped(b"00:00")
}

/// Reads a date, a time or both; returns them in one form, and how many bytes they were.
///
/// Nothing if there is none, or none that a calendar knows.
pub(super) fn parse(text: &[u8]) -> Option<(String, usize)> {
    let mut reader = Reader { text, at: 0 };
    let mut written = String::new();
    if text.get(2) == Some(&b':') {
        reader.time(&mut written)?;
    } else {
        reader.date(&mut written)?;
        let time = match text.get(reader.at) {
            Some(b'T' | b't') => true,
            // What follows a blank is a time only if it begins like one.
            Some(b' ') => text.get(reader.at + 1).is_some_and(u8::is_ascii_digit),
            Some(_) | None => false,
        };
        if time {
            reader.at += 1;
            written.push('T');
            reader.time(&mut written)?;
            reader.offset(&mut written)?;
        }
    }
    // Whatever else is there belongs to the word and makes it something unknown.
    let ends = !text.get(reader.at).is_some_and(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.' | b':')
    });
    ends.then_some((written, reader.at))
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Takes a number of so many digits that lies in a range.
    fn number(&mut self, digits: usize, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let taken = self.text.get(self.at..self.at + digits)?;
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
        let number = taken.iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))?;
        self.at += digits;
        range.contains(&number).then_some(number)
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        let found = self.text.get(self.at) == Some(&byte);
        self.at += 1;
        found.then_some(())
    }

    fn date(&mut self, written: &mut String) -> Option<()> {
        let year = self.number(4, 0..=9999)?;
        self.byte(b'-')?;
        let month = self.number(2, 1..=12)?;
        self.byte(b'-')?;
        let day = self.number(2, 1..=days(year, month))?;
        written.push_str(&format!("{year:04}-{month:02}-{day:02}"));
        Some(())
    }

    fn time(&mut self, written: &mut String) -> Option<()> {
        let hour = self.number(2, 0..=23)?;
        self.byte(b':')?;
        let minute = self.number(2, 0..=59)?;
        self.byte(b':')?;
        // A minute may have a leap second.
        let second = self.number(2, 0..=60)?;
        written.push_str(&format!("{hour:02}:{minute:02}:{second:02}"));
        if self.text.get(self.at) != Some(&b'.') {
            return Some(());
        }
        self.at += 1;
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        self.at += length;
        // Nanoseconds are the last that count, and groups of three are written.
        let mut fraction: Vec<u8> = rest[..length.min(9)].to_vec();
        fraction.resize(9, b'0');
        while fraction.ends_with(b"000") {
            fraction.truncate(fraction.len() - 3);
        }
        if !fraction.is_empty() {
            written.push('.');
            written.extend(fraction.into_iter().map(char::from));
        }
        Some(())
    }

    /// Takes the distance from the universal time, if there is one.
    fn offset(&mut self, written: &mut String) -> Option<()> {
        let sign = match self.text.get(self.at) {
            Some(b'Z' | b'z') => {
                self.at += 1;
                written.push('Z');
                return Some(());
            }
            Some(b'+') => '+',
            Some(b'-') => '-',
            Some(_) | None => return Some(()),
        };
        self.at += 1;
        let hours = self.number(2, 0..=23)?;
        self.byte(b':')?;
        let minutes = self.number(2, 0..=59)?;
        if hours == 0 && minutes == 0 {
            written.push('Z');
        } else {
            written.push_str(&format!("{sign}{hours:02}:{minutes:02}"));
        }
        Some(())
    }
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_have_one_form() {
        for (text, expected) in [
            ("1979-05-27", "1979-05-27"),
            ("2000-02-29", "2000-02-29"),
            ("1979-05-27t07:32:00z", "1979-05-27T07:32:00Z"),
            ("1979-05-27 07:32:60", "1979-05-27T07:32:60"),
            ("1979-05-27T00:32:00.5-07:30", "1979-05-27T00:32:00.500-07:30"),
            ("1979-05-27T00:32:00-00:00", "1979-05-27T00:32:00Z"),
            ("1979-05-27T00:32:00+00:01", "1979-05-27T00:32:00+00:01"),
            ("07:32:00.000", "07:32:00"),
            ("07:32:00.0001", "07:32:00.000100"),
            ("07:32:00.00000010", "07:32:00.000000100"),
            ("07:32:00.12345678999", "07:32:00.123456789"),
        ] {
            assert_eq!(parse(text.as_bytes()), Some((expected.to_owned(), text.len())), "{text}");
        }
    }

    #[test]
    fn a_date_ends_where_no_time_follows() {
        for rest in [" # note", "\n1 = 2", ", 2", "]", " ", ""] {
            let text = format!("1979-05-27{rest}");
            assert_eq!(parse(text.as_bytes()), Some(("1979-05-27".to_owned(), 10)), "{text}");
        }
    }

    #[test]
    fn what_no_calendar_knows_is_refused() {
        for text in [
            "1979-13-01",
            "1979-00-01",
            "1979-04-31",
            "1979-02-29",
            "1900-02-29",
            "1979-05-27T",
            "1979-05-27T24:00:00",
            "1979-05-27 07:32",
            "07:32",
            "07:60:00",
            "07:32:61",
            "07:32:00.",
            "07:32:00Z",
            "07:32:00.1x",
            "1979-05-27x",
            "1979-05-27T07:32:00+1:00",
            "1979-05-27T07:32:00+24:00",
            "1979-05-27T07:32:00+0100",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
