//! Which refusals of a database say that it is away for a while: a pure decision.

/// What SQLite says when somebody else has the file, or the disk fails: see <https://sqlite.org/rescode.html>.
const SQLITE: [u32; 5] = [
    5,  // BUSY
    6,  // LOCKED
    10, // IOERR
    13, // FULL
    14, // CANTOPEN
];

/// What PostgreSQL says when it is away, overloaded or short of something, or gave way to others, by how the code begins:
/// see <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const POSTGRES: [&str; 5] = [
    "08",   // connections
    "40",   // rolled back for the sake of others
    "53",   // resources
    "57P0", // shut down, or about to start
    "58",   // the system below
];

/// Returns whether the same may succeed later.
pub(super) fn is_outage(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Database(refused) = error {
        return refused.code().is_some_and(|code| is_code_of_outage(&code));
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
    )
}

/// PostgreSQL's codes have five letters or digits. SQLite's are numbers of at most four digits, the kind in the last byte.
fn is_code_of_outage(code: &str) -> bool {
    match code.len() {
        5 => POSTGRES.iter().any(|begin| code.starts_with(begin)),
        _ => code.parse::<u32>().is_ok_and(|number| SQLITE.contains(&(number & 0xff))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_comes_back_and_what_is_refused_does_not() {
        for (code, expected) in [
            ("5", true),
            ("517", true),  // another connection wrote meanwhile
            ("2570", true), // a write failed
            ("13", true),
            ("1", false),
            ("11", false), // damaged
            ("19", false),
            ("2067", false), // something is there already
            ("57P01", true),
            ("57P03", true),
            ("08006", true),
            ("53300", true),
            ("40001", true),
            ("57014", false), // somebody cancelled the statement
            ("23505", false),
            ("42601", false),
            ("22021", false),
            ("", false),
        ] {
            assert_eq!(is_code_of_outage(code), expected, "{code}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(is_outage(&sqlx::Error::Io(refused)));
        assert!(is_outage(&sqlx::Error::PoolTimedOut));
        assert!(!is_outage(&sqlx::Error::RowNotFound));
    }
}
