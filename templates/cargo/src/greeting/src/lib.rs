//! What to say.

/// Returns a greeting.
pub fn greeting() -> &'static str {
    "hello, dough"
}
