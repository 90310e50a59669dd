//! The project's declaration: what `levainProject` may say, and its defaults.
//!
//! This is the one place that knows the defaults; `lib/mkProject.nix` only
//! checks and passes on what a user wrote. Reading the flake is the
//! evaluator's work; this file starts from its JSON.

use std::fmt;
use std::time::Duration;

use levain_actions::forge::ForgeKind;
use levain_actions::shadow::ShadowFiles;
use levain_actions::status::Texts;
use levain_evaluator::evaluate::{OUTPUTS, Wishes};
use serde::Deserialize;

use crate::build::BuildLimits;
pub use crate::build::LogLimits;
use crate::jobset::{Jobset, JobsetKind};
use crate::signing::{PublicKey, SigningError};

mod shadow_ref;

/// What a project wants of levain; see `docs/declaration.md` for every key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Declaration {
    /// The switch and its policy.
    pub incremental: Incremental,
    /// Names of the two files that only the shadow branch changes.
    pub files: Files,
    /// Where the shadow branch lives.
    pub shadow: ShadowSettings,
    /// What evaluations may do.
    pub evaluation: EvaluationSettings,
    /// How long builds may take.
    pub build: BuildSettings,
    /// Where statuses go; none: to the terminal only.
    pub forge: Option<Forge>,
    /// Templates of the status texts.
    pub status: Texts,
    /// How much of build logs is kept.
    pub logs: LogLimits,
    /// The systems whose jobs are built; all if there are none.
    pub systems: Vec<String>,
    /// Which outputs are kept from garbage collection.
    pub outputs: Outputs,
}

/// Which outputs are kept from garbage collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Outputs {
    /// Those of how many commits of each branch and pull request.
    pub keep: u32,
    /// For how many days after the last run of that branch or pull request.
    pub keep_days: u32,
}

impl Default for Outputs {
    fn default() -> Self {
        Self { keep: 1, keep_days: 30 }
    }
}

/// The one switch, where it applies and how far.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Incremental {
    /// Whether levain keeps shadow branches and caches at all.
    pub enable: bool,
    /// Whether the default branch builds incrementally too; if not, it builds
    /// clean and still records its cache outputs.
    pub default_branch: bool,
    /// Whether pull requests build incrementally.
    pub pull_requests: bool,
    /// Patterns (`*` matches any text) of the branches that build incrementally.
    pub branches: Vec<String>,
    /// Number of incremental builds in a row after which one is clean; with 0
    /// every build is.
    pub depth_limit: u32,
    /// Age in days from which on an entry is not used any more; with 0 none ever is.
    pub max_age_days: u32,
    /// Name of the output that the next build may start from. `intermediates`
    /// is accepted as well when a job has no output of this name.
    pub cache_output: String,
    /// Public keys of other levains whose caches may be used.
    pub trusted_keys: Vec<String>,
    /// Whether a build from a cache that fails is done clean before it is called a failure.
    pub retry_clean: bool,
    /// When incremental builds are compared with clean ones.
    pub audit: Audit,
}

/// When incremental builds are compared with clean ones.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Audit {
    /// Audits every Nth incremental build in a row; 0 disables audits.
    pub every: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { every: 10 }
    }
}

impl Default for Incremental {
    fn default() -> Self {
        Self {
            enable: false,
            default_branch: false,
            pull_requests: true,
            branches: vec!["*".into()],
            depth_limit: 50,
            max_age_days: 30,
            cache_output: "cache".into(),
            trusted_keys: Vec::new(),
            retry_clean: true,
            audit: Audit::default(),
        }
    }
}

/// Names of the shadow branch's two files, relative to the tree's root.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Files {
    /// The cache pointer.
    pub pointer: String,
    /// The file that names the original commit.
    pub commit: String,
}

impl Default for Files {
    fn default() -> Self {
        Self { pointer: "cache.nix".into(), commit: "commit.txt".into() }
    }
}

/// Templates of the shadow branch.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ShadowSettings {
    /// Full name of the ref; `{{jobset}}` is `heads/BRANCH`, `pull/NUMBER` or `tags/TAG`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Message of shadow commits.
    pub message: String,
    /// Whether shadow branches are pushed to the remote (never for a fork's pull request).
    pub push: bool,
}

impl Default for ShadowSettings {
    fn default() -> Self {
        Self {
            reference: "refs/levain/{{jobset}}".into(),
            message: "levain: {{jobset}} at {{short_commit}}\n\n[skip ci]\n".into(),
            push: true,
        }
    }
}

/// What evaluations may do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EvaluationSettings {
    /// Whether an evaluation may build derivations and read their outputs.
    pub allow_import_from_derivation: bool,
    /// After how many seconds an evaluation is ended.
    pub timeout: Option<u64>,
    /// How many MiB of memory an evaluation may have.
    pub memory: Option<u64>,
    /// How many jobs there may be.
    pub max_jobs: Option<usize>,
    /// The flake outputs whose jobs are built; those that name jobs when there is none.
    pub outputs: Option<Vec<String>>,
}

impl EvaluationSettings {
    /// Returns how much less than the operator allows an evaluation may take.
    pub fn wishes(&self) -> Wishes {
        Wishes {
            time: self.timeout.map(Duration::from_secs),
            memory: self.memory.map(|mebibytes| mebibytes.saturating_mul(1 << 20)),
            jobs: self.max_jobs,
        }
    }
}

/// How long builds may take.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BuildSettings {
    /// After how many seconds a build is stopped.
    pub timeout: Option<u64>,
    /// After how many seconds without a line a build is stopped.
    pub silence: Option<u64>,
}

impl BuildSettings {
    /// Returns how much less than the operator allows a build may take.
    pub fn limits(&self) -> BuildLimits {
        BuildLimits {
            timeout: self.timeout.map(Duration::from_secs),
            silence: self.silence.map(Duration::from_secs),
        }
    }
}

/// The forge that is told about results.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forge {
    /// Which API it speaks.
    pub kind: ForgeKind,
    /// Base URL of the API; derived from the remote when absent.
    pub api_url: Option<String>,
    /// `owner/name`; derived from the remote when absent.
    pub repository: Option<String>,
    /// First part of every status context.
    pub context_prefix: Option<String>,
    /// Page that statuses link to; a template with `commit` and `jobset`.
    pub target_url: Option<String>,
}

/// Why a declaration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the declaration is wrong at `{}`: {message}\nhint: {hint}", placed(.key))]
pub struct DeclarationError {
    /// The key, as a dotted path.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// Returns where a key stands in the flake; serde calls the whole `.`.
fn placed(key: &str) -> String {
    match key {
        "" | "." => "levainProject".to_owned(),
        key => format!("levainProject.{key}"),
    }
}

/// The hint for values that are not what they should be.
const CORRECT: &str = "correct the key on the default branch; docs/declaration.md lists every key";

/// The keys whose values are attribute sets, as JSON pointers. Serde would take lists for them, too.
const SETS: [&str; 11] = [
    "",
    "/incremental",
    "/incremental/audit",
    "/files",
    "/shadow",
    "/evaluation",
    "/build",
    "/forge",
    "/status",
    "/logs",
    "/outputs",
];

/// Words serde's message for those who do not know levain's types.
fn worded(message: &str) -> String {
    match message.split_once(", expected struct ") {
        Some((found, _)) => format!("{found}, expected an attribute set"),
        None => message.to_owned(),
    }
}

/// Returns whether Nix accepts a text as the name of an output.
fn is_output_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._?=".contains(c))
        && !name.starts_with('.')
}

impl Declaration {
    /// Reads the JSON of the flake output `levainProject`.
    ///
    /// Unknown keys and wrong types are errors that name the key.
    pub fn from_json(value: serde_json::Value) -> Result<Self, DeclarationError> {
        let is_list = |place: &&&str| value.pointer(place).is_some_and(serde_json::Value::is_array);
        if let Some(place) = SETS.iter().find(is_list) {
            return Err(DeclarationError {
                key: place.trim_start_matches('/').replace('/', "."),
                message: "expected an attribute set, found a list".to_owned(),
                hint: CORRECT,
            });
        }
        let declaration: Self =
            serde_path_to_error::deserialize(value).map_err(|error| DeclarationError {
                key: error.path().to_string(),
                message: worded(&error.inner().to_string()),
                hint: CORRECT,
            })?;
        declaration.check()?;
        Ok(declaration)
    }

    fn check(&self) -> Result<(), DeclarationError> {
        let wrong = |key: &str, message: String, hint| {
            Err(DeclarationError { key: key.into(), message, hint })
        };
        if !self.shadow.reference.starts_with("refs/") {
            return wrong(
                "shadow.ref",
                format!("expected a full ref name, found `{}`", self.shadow.reference),
                "start it with `refs/`, as in `refs/levain/{{jobset}}`",
            );
        }
        if !self.shadow.reference.contains("{{") {
            return wrong(
                "shadow.ref",
                "expected a template that tells jobsets apart".into(),
                "use `{{jobset}}` in it, as in `refs/levain/{{jobset}}`",
            );
        }
        if let Some(problem) = shadow_ref::problem(&self.shadow.reference) {
            return wrong(
                "shadow.ref",
                problem,
                "use `refs/levain/{{jobset}}`, or for branches `refs/heads/levain/{{jobset}}`",
            );
        }
        let BuildSettings { timeout, silence } = self.build;
        for (key, seconds) in [("build.timeout", timeout), ("build.silence", silence)] {
            if seconds == Some(0) {
                let message = "a build cannot end within 0 seconds".to_owned();
                return wrong(key, message, "name a number of seconds, or leave it out");
            }
        }
        let output = &self.incremental.cache_output;
        if output == "out" || !is_output_name(output) {
            return wrong(
                "incremental.cacheOutput",
                format!("`{output}` cannot be the cache output"),
                "name an output of its own, as in `cache`",
            );
        }
        if let Err(error) = self.trusted_keys() {
            return wrong(
                "incremental.trustedKeys",
                error.to_string().lines().next().unwrap_or_default().to_owned(),
                "list what `levain cache key` prints where the caches are made",
            );
        }
        let mut outputs = self.evaluation.outputs.iter().flatten();
        if let Some(unknown) = outputs.find(|output| !OUTPUTS.contains(&output.as_str())) {
            return wrong(
                "evaluation.outputs",
                format!("jobs cannot be found in the flake output `{unknown}`"),
                "name some of `checks`, `packages`, `devShells`, `formatter`, `legacyPackages`, `nixosConfigurations`, `darwinConfigurations`, `homeConfigurations`, `levainJobs`, `hydraJobs`",
            );
        }
        if let Err(error) = self.shadow_files() {
            return wrong("files", error, "name two different files below the root of the tree");
        }
        Ok(())
    }

    /// Returns what may be followed of a declaration whose author is not known: nothing is sent
    /// where it says, and nobody's caches are trusted because it says so.
    pub(crate) fn without_reach(self) -> Self {
        let shadow = ShadowSettings { push: false, ..self.shadow };
        let incremental = Incremental { trusted_keys: Vec::new(), ..self.incremental };
        Self { forge: None, shadow, incremental, ..self }
    }

    /// Returns the two files' names, checked.
    pub fn shadow_files(&self) -> Result<ShadowFiles, String> {
        ShadowFiles::new(&self.files.pointer, &self.files.commit).map_err(|error| error.to_string())
    }

    /// Returns the keys of other levains that are trusted.
    pub fn trusted_keys(&self) -> Result<Vec<PublicKey>, SigningError> {
        self.incremental.trusted_keys.iter().map(|key| key.parse()).collect()
    }

    /// Returns the part of the shadow ref before the first placeholder: all
    /// shadow refs of the project start with it.
    pub fn shadow_prefix(&self) -> &str {
        self.shadow.reference.split("{{").next().unwrap_or_default()
    }
}

/// Whether and how incremental mode concerns a jobset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The switch is off: no shadow branch.
    Off,
    /// Builds are clean, but cache outputs are recorded for others to start from.
    Record,
    /// Builds start from caches.
    Incremental,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Record => "record",
            Self::Incremental => "incremental",
        })
    }
}

impl Incremental {
    /// Returns what the policy says about `jobset`.
    pub fn mode(&self, jobset: &Jobset) -> Mode {
        if !self.enable {
            return Mode::Off;
        }
        let applies = match &jobset.kind {
            JobsetKind::Branch { is_default: true, .. } => self.default_branch,
            JobsetKind::Branch { .. } if jobset.is_merge_queue() => self.pull_requests,
            JobsetKind::Branch { name, .. } => self.branches.iter().any(|p| matches(p, name)),
            JobsetKind::PullRequest { .. } => self.pull_requests,
            JobsetKind::Tag { name } => self.branches.iter().any(|p| matches(p, name)),
        };
        if applies { Mode::Incremental } else { Mode::Record }
    }
}

/// Returns whether `text` matches `pattern`, in which `*` stands for any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "anything/at-all", true),
            ("main", "main", true),
            ("main", "mainly", false),
            ("release-*", "release-1", true),
            ("release-*", "prerelease-1", false),
            ("*-wip", "x-wip", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} against {text}");
        }
    }

    #[test]
    fn errors_name_the_key() {
        let error = |json: &str| {
            Declaration::from_json(serde_json::from_str(json).unwrap()).unwrap_err().to_string()
        };
        assert!(error(r#"{"incremental":{"depthLimit":"50"}}"#).contains("incremental.depthLimit"));
        assert!(error(r#"{"incremental":{"enabled":true}}"#).contains("unknown field `enabled`"));
        assert!(error(r#"{"forge":{"kind":"sourcehut"}}"#).contains("forge.kind"));
        assert!(error(r#"{"shadow":{"ref":"levain/x"}}"#).contains("shadow.ref"));
        assert!(error(r#"{"evaluation":{"outputs":["apps"]}}"#).contains("output `apps`"));
        for (list, key) in [
            ("[]", "`levainProject`"),
            (r#"{"incremental":[true]}"#, "`levainProject.incremental`"),
            (r#"{"incremental":{"audit":[1]}}"#, "`levainProject.incremental.audit`"),
            (r#"{"forge":["gitea"]}"#, "`levainProject.forge`"),
        ] {
            let error = error(list);
            assert!(error.contains(&format!("{key}: expected an attribute set")), "{error}");
        }
        assert!(
            error("7").contains("`levainProject`: invalid type: integer `7`, expected an attr")
        );
        for output in ["a/b", "", "out", "a b", ".x"] {
            let json = format!(r#"{{"incremental":{{"cacheOutput":"{output}"}}}}"#);
            assert!(error(&json).contains("cannot be the cache output"), "{output}");
        }
        assert!(error(r#"{"files":{"pointer":"../cache.nix"}}"#).contains("levainProject.files"));
        for key in ["timeout", "silence"] {
            let error = error(&format!(r#"{{"build":{{"{key}":0}}}}"#));
            assert!(error.contains(&format!("levainProject.build.{key}")), "{error}");
        }
    }

    #[test]
    fn an_empty_declaration_is_off() {
        let declaration = Declaration::from_json(serde_json::json!({})).unwrap();
        assert!(!declaration.incremental.enable);
        assert_eq!(declaration.shadow_prefix(), "refs/levain/");
    }
}
