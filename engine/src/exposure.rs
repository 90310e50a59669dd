//! Whether a cache is part of what users get of a build.
//!
//! Nobody compares a cache with another: two builds make different ones. That is fine as long as only
//! the next build reads it. But if another output refers to it, or if it is the output that a plain
//! `nix build` gives, users have it too. Then a build from a cache does not count, and the cache of a
//! clean build is not kept.

use std::collections::{BTreeMap, BTreeSet};

use levain_store::{Connection, Derivation, DerivationPath, ProtocolError, Store, StorePath};

/// Says which output refers to the cache output, or to one of the `given` caches, or that the cache
/// output is the `first` one, which a name of the derivation stands for; `None` if users get no cache.
pub(crate) fn exposed<E>(
    references: &mut dyn FnMut(&StorePath) -> Result<BTreeSet<StorePath>, E>,
    outputs: &BTreeMap<String, StorePath>,
    first: Option<&str>,
    cache_output: Option<&str>,
    given: &BTreeSet<StorePath>,
) -> Result<Option<String>, E> {
    let own = cache_output.and_then(|name| outputs.get(name));
    if own.is_some() && outputs.len() == 1 {
        return Ok(Some("the cache output is the only output".to_owned()));
    }
    if own.is_some() && first == cache_output {
        return Ok(Some("the cache output is the first output".to_owned()));
    }
    for (name, path) in outputs.iter().filter(|(name, _)| cache_output != Some(name.as_str())) {
        let references = references(path)?;
        let detail = |what| Ok(Some(format!("output `{name}` refers to {what}")));
        if own.is_some_and(|own| references.contains(own)) {
            return detail("the cache output");
        }
        if !references.is_disjoint(given) {
            return detail("the cache that the build started from");
        }
    }
    Ok(None)
}

/// Asks the store the same of outputs that are valid.
pub(crate) fn exposed_in(
    store: &Store,
    connection: &mut Connection,
    derivation: &DerivationPath,
    outputs: &BTreeMap<String, StorePath>,
    cache_output: Option<&str>,
    given: &BTreeSet<StorePath>,
) -> Result<Option<String>, ProtocolError> {
    let mut references = |path: &StorePath| {
        let info = connection.path_info(path)?;
        Ok(info.map(|info| info.references).unwrap_or_default())
    };
    // One that is gone says nothing; what its outputs refer to is known all the same.
    let first = store.read_derivation(derivation).ok().and_then(|content| first_output(&content));
    exposed(&mut references, outputs, first.as_deref(), cache_output, given)
}

/// Returns the output that stands for the derivation where none is named.
fn first_output(derivation: &Derivation) -> Option<String> {
    if let Some(json) = derivation.env("__json") {
        let attributes: serde_json::Value = serde_json::from_slice(json).ok()?;
        return attributes.get("outputs")?.get(0)?.as_str().map(str::to_owned);
    }
    let names = std::str::from_utf8(derivation.env("outputs")?).ok()?;
    names.split_ascii_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const OUT: &str = "00000000000000000000000000000000-app";
    const DEV: &str = "11111111111111111111111111111111-app-dev";
    const CACHE: &str = "22222222222222222222222222222222-app-cache";
    const GIVEN: &str = "33333333333333333333333333333333-app-cache";

    fn path(name: &str) -> StorePath {
        name.parse().unwrap()
    }

    fn found(references: &[(&str, &[&str])], cache_output: Option<&str>) -> Option<String> {
        let outputs = [("out", OUT), ("dev", DEV), ("cache", CACHE)];
        let outputs = outputs.map(|(name, at)| (name.to_owned(), path(at))).into();
        let mut ask = |asked: &StorePath| {
            let of = references.iter().find(|(from, _)| path(from) == *asked);
            let of = of.map(|(_, to)| to.iter().map(|to| path(to)).collect());
            Ok::<_, Infallible>(of.unwrap_or_default())
        };
        let given = [path(GIVEN)].into();
        let Ok(found) = exposed(&mut ask, &outputs, Some("out"), cache_output, &given);
        found
    }

    #[test]
    fn the_first_output_is_the_one_that_is_named_first() {
        let with = |name: &str, value: &str| Derivation {
            env: [(name.into(), value.into())].into(),
            ..Derivation::default()
        };
        let first = |name, value| first_output(&with(name, value));
        assert_eq!(first("outputs", "cache out").as_deref(), Some("cache"));
        assert_eq!(first("__json", r#"{"outputs":["dev","cache"]}"#).as_deref(), Some("dev"));
        assert_eq!(first("outputs", ""), None);
        assert_eq!(first("__json", "[]"), None);
        assert_eq!(first("name", "app"), None);
    }

    #[test]
    fn another_output_must_not_refer_to_a_cache() {
        let cache = Some("cache");
        assert_eq!(found(&[], cache), None);
        assert_eq!(found(&[(OUT, &[OUT, DEV]), (DEV, &[OUT])], cache), None);
        // The cache may refer to the outputs, and to the one before it.
        assert_eq!(found(&[(CACHE, &[OUT, GIVEN, CACHE])], cache), None);
        let own = |name: &str| Some(format!("output `{name}` refers to the cache output"));
        assert_eq!(found(&[(OUT, &[CACHE])], cache), own("out"));
        assert_eq!(found(&[(OUT, &[DEV]), (DEV, &[CACHE])], cache), own("dev"));
        let given = "output `out` refers to the cache that the build started from";
        for cache_output in [cache, None] {
            assert_eq!(found(&[(OUT, &[GIVEN])], cache_output).as_deref(), Some(given));
        }
        let only: BTreeMap<String, StorePath> = [("cache".to_owned(), path(CACHE))].into();
        let mut ask = |_: &StorePath| Ok::<_, Infallible>(BTreeSet::new());
        let Ok(found_only) = exposed(&mut ask, &only, None, cache, &BTreeSet::new());
        assert_eq!(found_only.as_deref(), Some("the cache output is the only output"));
        let both = [("cache".to_owned(), path(CACHE)), ("out".to_owned(), path(OUT))].into();
        for (first, expected) in
            [("cache", Some("the cache output is the first output")), ("out", None)]
        {
            let Ok(found) = exposed(&mut ask, &both, Some(first), cache, &BTreeSet::new());
            assert_eq!(found.as_deref(), expected);
        }
        // Without a cache output it is an output like any other.
        assert_eq!(found(&[(OUT, &[CACHE])], None), None);
    }
}
