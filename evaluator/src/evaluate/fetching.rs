//! Fetches the inputs of a lock file before the evaluation, which has no credentials.
//!
//! Whose inputs may be fetched so is not decided here: see [`super::Limits::inputs`]. Where from is: a
//! lock file must not aim the operator's Nix at this machine and its network. An input that is not
//! fetched is no error yet, since the jobs may not need it. Start at [`fetch`].

use std::path::Path;
use std::time::Duration;

use levain_store::{DirectProtocol, FetchRequest, ProcessLimits, Refusal, Store};

use super::{EvaluateError, NixEvaluator, Resources};
use crate::inputs::{Host, LockedInput, Origin, Protocol};
use crate::nix_data::Data;

/// An input that was not fetched.
#[derive(Debug)]
pub(super) struct Unfetched<'a> {
    pub(super) input: &'a LockedInput,
    pub(super) message: String,
}

/// Who may fetch an input.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// Nix with the operator's credentials, behind the proxy.
    Proxied,
    /// The same with this machine's network.
    Direct,
    /// Nobody but the evaluation, which has neither; with the reason.
    Left(String),
}

/// Fetches those of the inputs that the store does not have.
pub(super) fn fetch<'a>(
    evaluator: &NixEvaluator,
    inputs: &'a [LockedInput],
    resources: Resources,
    place: &Path,
) -> Result<Vec<Unfetched<'a>>, EvaluateError> {
    let store = Store::new(evaluator.store.clone());
    let missing = inputs.iter().filter(|input| {
        let path = input.store_path(store.dir());
        path.is_none_or(|path| !store.exists_on_disk(&path))
    });
    let (mut proxied, mut direct, mut unfetched) = (Vec::new(), Vec::new(), Vec::new());
    for input in missing {
        let is_allowed = |path: &Path| evaluator.allowed_paths.iter().any(|own| own.allows(path));
        let way = way(input, is_allowed, |host| refusal(evaluator, host));
        match way {
            Way::Proxied => proxied.push(input),
            Way::Direct => direct.push(input),
            Way::Left(message) => {
                tracing::info!(input = input.place(), message, "an input is not fetched");
                unfetched.push(Unfetched { input, message });
            }
        }
    }
    for (group, direct) in [(proxied, false), (direct, true)] {
        if group.is_empty() {
            continue;
        }
        // All at once, and if that fails one after the other, to see which.
        if ask(evaluator, &group, direct, resources, place)?.is_some() {
            for input in group {
                if let Some(message) = ask(evaluator, &[input], direct, resources, place)? {
                    tracing::info!(input = input.place(), message, "an input was not fetched");
                    unfetched.push(Unfetched { input, message });
                }
            }
        }
    }
    Ok(unfetched)
}

/// Decides who may fetch an input, before anything of it is read.
fn way(
    input: &LockedInput,
    is_allowed: impl FnOnce(&Path) -> bool,
    refusal: impl FnOnce(&Host) -> Option<Refusal>,
) -> Way {
    match input.origin() {
        Origin::Web => Way::Proxied,
        Origin::Local(path) if is_allowed(&path) => Way::Proxied,
        Origin::Local(path) => Way::Left(format!(
            "`{}` is on this machine, and not below a directory that lock files may name\nhint: pass `--allow-path {}` if this project may read it",
            input.place(),
            path.display()
        )),
        Origin::Host(host) => match refusal(&host) {
            None => Way::Direct,
            Some(refusal) => Way::Left(refusal.to_string()),
        },
        Origin::Content { what } => Way::Left(format!(
            "`{}` has {what}, which come from wherever it says itself, so it is fetched without credentials",
            input.place()
        )),
        Origin::Unclear => Way::Left(format!(
            "`{}` is not fetched: programs may read its attributes in different ways",
            input.place()
        )),
    }
}

/// Returns why a host may not be spoken to without the proxy. Where there is no proxy at all, nothing
/// is confined.
fn refusal(evaluator: &NixEvaluator, host: &Host) -> Option<Refusal> {
    let allowed = evaluator.confinement.proxied()?;
    let protocol = match host.protocol {
        Protocol::Ssh => DirectProtocol::Ssh,
        Protocol::Git => DirectProtocol::Git,
    };
    evaluator.nix.direct_refusal(protocol, (&host.name, host.port), allowed, &evaluator.store)
}

/// Returns Nix's message if it fails.
fn ask(
    evaluator: &NixEvaluator,
    inputs: &[&LockedInput],
    direct: bool,
    resources: Resources,
    place: &Path,
) -> Result<Option<String>, EvaluateError> {
    let list = Data::List(inputs.iter().map(|input| input.to_data()).collect());
    let time = Some(resources.time.max(Duration::from_secs(1)));
    let request = FetchRequest {
        inputs: list.print(),
        store: evaluator.store.clone(),
        cache_dir: place.to_owned(),
        confinement: evaluator.confinement.clone(),
        direct,
        limits: ProcessLimits { memory: Some(resources.memory), time },
    };
    match evaluator.nix.fetch(&request) {
        Ok(()) => Ok(None),
        Err(levain_store::EvalError::Failed(failure)) => {
            // Behind the first empty line stands how Nix came to it, by our own expression.
            let message = failure.message.trim_start_matches("error: ");
            let mut lines = vec![message.split("\n\n").next().unwrap_or(message).to_owned()];
            lines.extend(failure.refusals.iter().map(ToString::to_string));
            lines.extend(failure.exceeded.map(|exceeded| exceeded.to_string()));
            Ok(Some(lines.join("\n")))
        }
        Err(other) => Err(EvaluateError::NixProgram(Box::new(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(locked: serde_json::Value) -> LockedInput {
        let mut locked = locked;
        locked["narHash"] = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".into();
        let lock = serde_json::json!({ "nodes": { "a": { "locked": locked } } });
        LockedInput::all(lock.to_string().as_bytes()).pop().unwrap()
    }

    fn way_of(locked: serde_json::Value, refusal: Option<Refusal>) -> Way {
        way(&input(locked), |path| path.starts_with("/allowed"), |_| refusal)
    }

    #[test]
    fn local_inputs_are_fetched_where_the_operator_allows_it() {
        let all = |place: &str| {
            let url = format!("file://{place}");
            [
                serde_json::json!({ "type": "path", "path": place }),
                serde_json::json!({ "type": "git", "url": url }),
                serde_json::json!({ "type": "file", "url": url }),
                serde_json::json!({ "type": "tarball", "url": url }),
            ]
        };
        for locked in all("/allowed/x") {
            assert_eq!(way_of(locked, None), Way::Proxied);
        }
        for locked in all("/home/op/.netrc") {
            let Way::Left(message) = way_of(locked.clone(), None) else { panic!("{locked}") };
            assert!(message.contains("/home/op/.netrc` is on this machine"), "{message}");
            assert!(
                message.ends_with("`--allow-path /home/op/.netrc` if this project may read it")
            );
        }
    }

    #[test]
    fn hosts_are_reached_without_a_proxy_if_nothing_speaks_against_it() {
        let ssh = || serde_json::json!({ "type": "git", "url": "ssh://h/x" });
        assert_eq!(way_of(ssh(), None), Way::Direct);
        let refusal = Refusal::Unproxied { host: "h".into(), port: 9418 };
        assert_eq!(way_of(ssh(), Some(refusal.clone())), Way::Left(refusal.to_string()));
        let web = serde_json::json!({ "type": "git", "url": "https://h/x" });
        assert_eq!(way_of(web, Some(refusal)), Way::Proxied);
    }

    #[test]
    fn what_leads_elsewhere_gets_no_credentials() {
        for locked in [
            serde_json::json!({ "type": "git", "url": "https://h/x", "submodules": true }),
            serde_json::json!({ "type": "git", "url": "https://h/x", "lfs": true }),
            serde_json::json!({ "type": "git", "url": "file:///allowed/x", "submodules": true }),
            serde_json::json!({ "type": "git", "url": "ssh://-oProxyCommand=x/y" }),
            serde_json::json!({ "type": "git", "url": "https://h/x", "ref": "-x" }),
        ] {
            assert!(matches!(way_of(locked.clone(), None), Way::Left(_)), "{locked}");
        }
        let plain = serde_json::json!({ "type": "git", "url": "https://h/x", "submodules": false });
        assert_eq!(way_of(plain, None), Way::Proxied);
    }
}
