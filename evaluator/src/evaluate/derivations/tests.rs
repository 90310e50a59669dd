//! Whatever a flake says, facts come from the store.

use std::collections::BTreeMap;
use std::io;

use levain_store::{DerivationOutput, StorePath};

use super::*;

const OUT: &str = "xvkp4j2ckk64igdl9gklmdj3cbv2kln0-app";
const DEV: &str = "yvkp4j2ckk64igdl9gklmdj3cbv2kln0-app-dev";
const APP: &str = "/nix/store/prwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv";

/// A store with one derivation, or one that answers something else.
struct Fake(Result<BTreeMap<String, Derivation>, fn() -> StoreError>);

impl Derivations for Fake {
    fn read(&mut self, path: &DerivationPath) -> Result<Option<Derivation>, StoreError> {
        match &self.0 {
            Ok(known) => Ok(known.get(&dir().display(path.as_store_path())).cloned()),
            Err(error) => Err(error()),
        }
    }
}

fn dir() -> StoreDir {
    StoreDir::new("/nix/store").unwrap()
}

fn output(path: Option<&str>, algorithm: &str, hash: &str) -> DerivationOutput {
    let path = path.map(|path| path.parse::<StorePath>().unwrap());
    DerivationOutput { path, hash_algorithm: algorithm.into(), hash: hash.into() }
}

fn app(outputs: &[(&str, DerivationOutput)]) -> Derivation {
    let outputs = outputs.iter().map(|(name, output)| ((*name).into(), output.clone())).collect();
    Derivation { outputs, system: "x86_64-linux".into(), ..Derivation::default() }
}

fn ask(content: Derivation, drv_path: &str, levain: &str) -> Result<JobDerivation, JobError> {
    let mut store = Fake(Ok([(APP.to_owned(), content)].into()));
    let said = Said { drv_path: drv_path.into(), levain: levain.into(), ..Said::default() };
    established(&dir(), said, &mut store).unwrap()
}

fn refused(content: Derivation, drv_path: &str) -> (JobErrorKind, String) {
    let error = ask(content, drv_path, "{}").unwrap_err();
    (error.kind, error.message.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn facts_are_those_of_the_derivation() {
    let content = app(&[("out", output(Some(OUT), "", "")), ("dev", output(Some(DEV), "", ""))]);
    let job = ask(content, APP, r#"{ "key": 1 }"#).unwrap();
    assert_eq!((job.name.as_str(), job.system.as_str()), ("app", "x86_64-linux"));
    let outputs: Vec<String> =
        job.outputs.iter().map(|(name, path)| format!("{name} {path}")).collect();
    assert_eq!(outputs, [format!("dev {DEV}"), format!("out {OUT}")]);
    assert_eq!(job.levain.extra, Some(1.into()));
}

#[test]
fn only_a_derivation_in_the_store_is_one() {
    let content = || app(&[("out", output(Some(OUT), "", ""))]);
    for text in [
        "",
        "app.drv",
        "/etc/passwd",
        OUT,
        "/nix/store/..",
        &format!("{APP}/x"),
        "/nix/store/x.drv",
    ] {
        let (kind, message) = refused(content(), text);
        assert_eq!(kind, JobErrorKind::NoSuchDerivation, "{text}");
        assert!(message.starts_with("attribute `drvPath`: expected the store path"), "{message}");
    }
    let (kind, message) = refused(content(), &APP.replace('p', "q"));
    assert_eq!(kind, JobErrorKind::NoSuchDerivation);
    assert!(message.ends_with("is not in the store"), "{message}");
    let (_, message) = refused(content(), &"x".repeat(1_000_000));
    assert!(message.len() < 500);
}

#[test]
fn outputs_without_paths_are_refused_by_name() {
    let refused = |output: DerivationOutput| refused(app(&[("out", output)]), APP);
    for (output, kind, message) in [
        (
            output(None, "r:sha256", ""),
            JobErrorKind::ContentAddressed,
            "the derivation is content-addressed",
        ),
        (output(None, "r:sha256", "impure"), JobErrorKind::Impure, "the derivation is impure"),
        (
            output(None, "", ""),
            JobErrorKind::UnknownOutputs,
            "the derivation depends on a content-addressed or impure one",
        ),
    ] {
        assert_eq!(refused(output), (kind, format!("{message}, and cannot be a job")));
    }
}

#[test]
fn a_store_that_cannot_be_read_is_not_the_jobs_fault() {
    let said = || Said { drv_path: APP.into(), levain: "{}".into(), ..Said::default() };
    let broken: fn() -> StoreError = || StoreError::Read {
        file: "/nix/store/x".into(),
        source: io::Error::from(io::ErrorKind::PermissionDenied),
    };
    let found = established(&dir(), said(), &mut Fake(Err(broken)));
    assert!(matches!(found, Err(EvaluateError::Store(_))), "{found:?}");
    let link: fn() -> StoreError = || StoreError::NotAFile {
        path: dir().parse_derivation(APP).unwrap(),
        what: "it is no regular file",
    };
    let found = established(&dir(), said(), &mut Fake(Err(link))).unwrap().unwrap_err();
    assert_eq!(found.kind, JobErrorKind::NoSuchDerivation);
    assert!(found.message.ends_with("it is no regular file"), "{found}");
}

#[test]
fn a_job_whose_key_options_cannot_be_read_is_built_without() {
    let content = || app(&[("out", output(Some(OUT), "", ""))]);
    for levain in ["1", r#"{ "keys": 1 }"#, r#"{ "outputs": [] }"#] {
        let job = ask(content(), APP, levain).unwrap();
        assert_eq!(job.levain, KeyOptions::default(), "{levain}");
        assert!(job.doubts[0].starts_with("attribute `levain`"), "{levain}: {:?}", job.doubts);
    }
    assert_eq!(ask(content(), APP, "{}").unwrap().doubts, [""; 0]);
}

#[test]
fn constituents_become_attribute_paths() {
    let aggregate = |constituents: &[&str]| {
        let mut job = ask(app(&[("out", output(Some(OUT), "", ""))]), APP, "{}").unwrap();
        job.constituents = constituents.iter().map(|&text| text.into()).collect();
        Ok(job)
    };
    let broken = || Err(JobError { kind: JobErrorKind::Evaluation, message: "no".into() });
    let resolved = |constituents: &[&str], complete| {
        let mut jobs: Vec<EvaluatedJob> = [
            ("all", aggregate(constituents)),
            ("set.app", aggregate(&[])),
            ("set.\"a.b\"", broken()),
        ]
        .into_iter()
        .map(|(path, outcome)| EvaluatedJob { attr_path: path.parse().unwrap(), outcome })
        .collect();
        let needed = "/nix/store/11111111111111111111111111111111-x.drv";
        let mut content = app(&[("out", output(Some(OUT), "", ""))]);
        let needed = dir().parse_derivation(needed).unwrap();
        content.input_derivations.insert(needed, ["out".to_owned()].into());
        let mut store = Fake(Ok([(APP.to_owned(), content)].into()));
        resolve_constituents(&dir(), &mut jobs, complete, &mut store).unwrap();
        jobs.swap_remove(0).outcome.map(|job| job.constituents).map_err(|error| error.message)
    };
    // By name, failing ones too; by derivation; and never itself.
    assert_eq!(resolved(&["set.app"], true).unwrap(), ["set.app"]);
    assert_eq!(resolved(&["set.a.b", "all"], true).unwrap(), ["set.\"a.b\""]);
    assert_eq!(resolved(&[APP], true).unwrap(), ["set.app"]);
    // A derivation that is no job is built only if the aggregate needs it.
    let needed = "/nix/store/11111111111111111111111111111111-x.drv";
    assert_eq!(resolved(&[needed, "set.app"], true).unwrap(), ["set.app"]);
    let other = "/nix/store/00000000000000000000000000000000-x.drv";
    assert!(resolved(&[needed, "set.app", other], true).unwrap_err().contains(other));
    assert_eq!(resolved(&[other], false).unwrap(), [""; 0]);
    // Twice is once.
    assert_eq!(resolved(&["set.app", APP, "set.app"], true).unwrap(), ["set.app"]);
    assert!(resolved(&["set.app", "gone"], true).unwrap_err().contains("`gone`"));
    assert_eq!(resolved(&["gone"], false).unwrap(), [""; 0]);
}

#[test]
fn a_constituent_is_the_job_that_is_shown_so() {
    let aggregate = |constituents: &[&str]| {
        let mut job = ask(app(&[("out", output(Some(OUT), "", ""))]), APP, "{}").unwrap();
        job.constituents = constituents.iter().map(|&text| text.into()).collect();
        Ok(job)
    };
    let resolved = |constituents: &[&str], complete| {
        let paths = ["x.b", "\"x.b\"", "y.\"b.c\"", "\"y.b\".c"];
        let others = paths.map(|path| (path, aggregate(&[])));
        let mut jobs: Vec<EvaluatedJob> = [("all", aggregate(constituents))]
            .into_iter()
            .chain(others)
            .map(|(path, outcome)| EvaluatedJob { attr_path: path.parse().unwrap(), outcome })
            .collect();
        let mut store = Fake(Ok(BTreeMap::new()));
        resolve_constituents(&dir(), &mut jobs, complete, &mut store).unwrap();
        jobs.swap_remove(0).outcome.map(|job| job.constituents).map_err(|error| error.message)
    };
    assert_eq!(resolved(&["x.b"], true).unwrap(), ["x.b"]);
    assert_eq!(resolved(&["\"x.b\""], true).unwrap(), ["\"x.b\""]);
    assert_eq!(resolved(&["y.\"b.c\""], true).unwrap(), ["y.\"b.c\""]);
    let message = resolved(&["x.b", "y.b.c"], true).unwrap_err();
    assert!(message.contains("`y.b.c` may be `y.\"b.c\"` or `\"y.b\".c`"), "{message}");
    // Others may say more of it.
    assert_eq!(resolved(&["x.b", "y.b.c"], false).unwrap(), ["x.b"]);
}
