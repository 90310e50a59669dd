//! Lines up columns, for people. Must read well without colour.

use std::time::{SystemTime, UNIX_EPOCH};

use levain_store::visible_line;

/// The widest column. A longer cell moves what is right of it in its own row, and no other row.
const WIDEST: usize = 60;

/// Lines up `rows` in columns, two blanks apart.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<_>> = rows
        .iter()
        // A cell with a line feed in it would look like a row.
        .map(|row| row.iter().map(|cell| visible_line(cell)).collect())
        .collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).filter(|width| *width <= WIDEST).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| {
                format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count())))
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Returns how long ago a time was, in the largest fitting unit.
pub(crate) fn age(time: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let seconds = now.saturating_sub(time);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Returns a size in bytes with a unit.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// Returns the start of a commit or key.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_up() {
        let rows = vec![vec!["a".into(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(columns(&rows), "a    bb\nccc  d\n");
        let long = "x".repeat(WIDEST + 1);
        let rows = vec![vec!["a".into(), "b".into()], vec![long.clone(), "c".into()]];
        assert_eq!(columns(&rows), format!("a  b\n{long}  c\n"));
        let rows = vec![vec!["a\nb".into(), "\u{1b}[2Jc".into()]];
        assert_eq!(columns(&rows), "a\\nb  \\u{1b}[2Jc\n");
    }

    #[test]
    fn sizes() {
        let shown = [0, 1023, 1024, 1_572_864].map(size);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB"]);
    }
}
