//! Numbers of things, as people read them: `1 job`, `2 jobs`.

/// Returns so many of something whose name takes an `s` in the plural.
pub fn counted(count: impl Into<Count>, noun: &str) -> String {
    let Count(count) = count.into();
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// How many.
#[derive(Clone, Copy, Debug)]
pub struct Count(u64);

impl From<u64> for Count {
    fn from(count: u64) -> Self {
        Self(count)
    }
}

impl From<u32> for Count {
    fn from(count: u32) -> Self {
        Self(count.into())
    }
}

impl From<usize> for Count {
    fn from(count: usize) -> Self {
        Self(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one() {
        let all = [0_usize, 1, 2].map(|count| counted(count, "job"));
        assert_eq!(all, ["0 jobs", "1 job", "2 jobs"]);
        assert_eq!(counted(1_u64, "line"), "1 line");
        assert_eq!(counted(21_u32, "day"), "21 days");
    }
}
