//! Looking at pointers, and dropping them by hand.

use std::collections::BTreeMap;

use levain_evaluator::{JobName, JobsetName};
use levain_store::{ConnectError, Connection, ProtocolError};
use serde::Serialize;

use crate::build::unix_now;
use crate::candidates::{is_dropped, named_paths};
use crate::jobset::{Head, Shadowed};
use crate::pointers::{Change, FoundBranch, ShadowName, Unusable};
use crate::project::{Project, ProjectError, Surroundings};
use crate::records::{Jobsets, Mark, RecordsError};
use crate::roots::RootError;
use crate::shadowing::{Shadowing, ShadowingError};
use crate::signing::Distrust;

/// One entry of one shadow branch.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheEntry {
    /// The shadow branch on which it stands.
    #[serde(rename = "jobset")]
    pub shadow: ShadowName,
    /// The job; `*` for a pointer file that is rejected as a whole.
    pub attr_path: JobName,
    /// What the entry says, or why it is rejected.
    #[serde(flatten)]
    pub content: Content,
}

/// What an entry says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
#[expect(clippy::large_enum_variant, reason = "nearly all are good entries")]
pub enum Content {
    /// A good entry.
    #[serde(rename_all = "camelCase")]
    Entry {
        /// The content-addressed copy of the cache output.
        path: String,
        /// Its NAR hash.
        nar_hash: String,
        /// The key under which it may be used.
        key: String,
        /// Number of incremental builds behind it.
        depth: u32,
        /// The original commit that it was made from.
        commit: String,
        /// When it was made, in seconds since 1970.
        time: u64,
        /// Trust in the jobset that made it.
        tier: String,
        /// The jobset that made it.
        #[serde(skip_serializing_if = "Option::is_none")]
        maker: Option<JobsetName>,
        /// The signature, `NAME:BASE64`.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        /// Why the signature is not believed.
        #[serde(skip_serializing_if = "Option::is_none")]
        untrusted: Option<String>,
        /// Why the last evaluation did not use it.
        #[serde(skip_serializing_if = "Option::is_none")]
        unused: Option<String>,
        /// Whether the store has it: `present`, `missing` or `differs`; `untrusted` or `dropped` if nobody
        /// asks because of its signature, or because nothing starts from it any more.
        state: &'static str,
        /// Its size in bytes, if present.
        #[serde(skip_serializing_if = "Option::is_none")]
        nar_size: Option<u64>,
    },
    /// A bad one.
    Rejected {
        /// Why.
        rejected: String,
    },
}

/// Looking or dropping failed.
#[derive(Debug, thiserror::Error)]
pub enum CachesError {
    /// The project.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The shadow branch.
    #[error(transparent)]
    Shadow(#[from] ShadowingError),
    /// The store.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] ProtocolError),
    /// What is remembered.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The roots.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Nothing to drop or show.
    #[error(
        "`{}` has no cache of a job `{job}`\nhint: `levain cache list` shows all there are",
        jobset.as_ref().map_or("any branch", JobsetName::as_str)
    )]
    NoSuchJob {
        /// The jobset; nothing if all were looked at.
        jobset: Option<JobsetName>,
        /// The job.
        job: JobName,
    },
    /// Dropping needs the right to write.
    #[error(
        "no cache is dropped or allowed in read-only mode\nhint: leave out `--read-only` and unset `LEVAIN_READ_ONLY`"
    )]
    ReadOnly,
}

/// Returns the entries of all shadow branches here, by jobset and job.
pub fn list(
    surroundings: &Surroundings,
    project: &Project,
) -> Result<Vec<CacheEntry>, CachesError> {
    let layout = &project.layout;
    let recorded =
        layout.read_all(&project.repository, &layout.prefix).map_err(ProjectError::from)?;
    let mut listed = Vec::new();
    if recorded.is_empty() {
        return Ok(listed);
    }
    let marks = project.records.marks()?;
    let mut connection = surroundings.store.connect()?;
    for branch in &recorded {
        let jobset = branch.name.jobset();
        match &branch.entries {
            Err(why) => listed.push(CacheEntry {
                shadow: branch.name.clone(),
                attr_path: "*".into(),
                content: Content::Rejected { rejected: why.clone() },
            }),
            Ok(entries) => {
                for (job, entry) in entries {
                    let content = match entry {
                        Err(Unusable::Malformed(error)) => {
                            Content::Rejected { rejected: error.to_string() }
                        }
                        Err(Unusable::Untrusted { entry, why }) => {
                            let asked = Asked::Untrusted(why);
                            describe(surroundings, &mut connection, entry, asked)?
                        }
                        Ok(entry) => {
                            let dropped = jobset
                                .as_ref()
                                .is_some_and(|jobset| is_dropped(entry, jobset, job, &marks));
                            let asked = if dropped { Asked::Dropped } else { Asked::Store };
                            describe(surroundings, &mut connection, entry, asked)?
                        }
                    };
                    listed.push(CacheEntry {
                        shadow: branch.name.clone(),
                        attr_path: job.clone(),
                        content,
                    });
                }
            }
        }
    }
    Ok(listed)
}

/// Whether the store is asked for an entry's path, or why it is not.
enum Asked<'a> {
    Store,
    Untrusted(&'a Distrust),
    Dropped,
}

fn describe(
    surroundings: &Surroundings,
    connection: &mut Connection,
    entry: &levain_evaluator::Entry,
    asked: Asked<'_>,
) -> Result<Content, CachesError> {
    let (info, untrusted, state) = match asked {
        Asked::Untrusted(why) => (None, Some(why.to_string()), "untrusted"),
        Asked::Dropped => (None, None, "dropped"),
        Asked::Store => {
            let info = connection.path_info(&entry.path)?;
            let state = match &info {
                None => "missing",
                Some(info) if info.nar_hash != entry.nar_hash => "differs",
                Some(_) => "present",
            };
            (info, None, state)
        }
    };
    Ok(Content::Entry {
        path: surroundings.store.dir().display(&entry.path),
        nar_hash: entry.nar_hash.to_string(),
        key: entry.key.to_string(),
        depth: entry.depth,
        commit: entry.commit.clone(),
        time: entry.time,
        tier: entry.tier.name().to_owned(),
        maker: entry.maker.as_ref().map(|maker| maker.jobset.clone()),
        signature: entry.maker.as_ref().map(|maker| maker.signature.clone()),
        untrusted,
        unused: entry.unused.clone(),
        state,
        nar_size: info.map(|info| info.nar_size),
    })
}

/// What was dropped.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    /// The jobset.
    pub jobset: JobsetName,
    /// Jobs whose entries are gone.
    pub jobs: Vec<JobName>,
    /// Incremental successes that do not count any more.
    pub forgotten: usize,
    /// The shadow branch's head now.
    pub head: Option<String>,
}

/// Drops the caches of `job`, or of all jobs, of one jobset.
///
/// What this jobset built from caches does not count as a success any more, so
/// that the next run builds anew; and a clean success does not bring its own
/// cache back.
pub fn drop(project: &Project, head: &Head, job: Option<&JobName>) -> Result<Dropped, CachesError> {
    let Some(writer) = &project.writer else { return Err(CachesError::ReadOnly) };
    let shadowing = Shadowing::new(project, head)?;
    let (recorded, entries) = shadowing.own()?;
    let jobset = head.jobset.name();
    let mut changes = BTreeMap::new();
    let mut time = unix_now();
    for (name, entry) in entries.unwrap_or_default() {
        if job.is_none_or(|job| *job == name) {
            time = time.max(entry.map_or(0, |entry| entry.time));
            changes.insert(name, Change::Remove);
        }
    }
    let forgotten = project.records.forget_incremental(writer, Some(&jobset), job)?;
    if let Some(job) = job
        && changes.is_empty()
        && forgotten == 0
    {
        return Err(CachesError::NoSuchJob { jobset: Some(jobset), job: job.clone() });
    }
    let mark = Mark::Until { jobset: Jobsets::One(jobset.clone()), job: job.cloned(), time };
    project.records.mark(writer, &mark)?;
    let of = shadowed_by(recorded.as_ref()).unwrap_or(head.shadowed());
    let (now, jobs) = match recorded {
        Some(_) => shadowing.apply(writer.run_lock(), of, &changes)?,
        None => (None, Vec::new()),
    };
    let layout = &project.layout;
    writer.lent().unlink(&writer.state().roots(), || {
        let all = layout.read_all(&project.repository, &layout.prefix);
        let all = all.map_err(ProjectError::from)?;
        Ok::<_, CachesError>(Some(named_paths(&all, &layout.store_dir)))
    })?;
    Ok(Dropped { jobset, jobs, forgotten, head: now.map(|id| id.to_string()) })
}

/// Drops everything that any jobset recorded for `job` until now: an audit found that its caches
/// lie, and where the lie began is not known.
pub(crate) fn distrust(project: &Project, job: &JobName) -> Result<(), CachesError> {
    let Some(writer) = &project.writer else { return Err(CachesError::ReadOnly) };
    let layout = &project.layout;
    let all = layout.read_all(&project.repository, &layout.prefix).map_err(ProjectError::from)?;
    let times = all
        .iter()
        .filter_map(|recorded| Some(recorded.entries.as_ref().ok()?.get(job)?.as_ref().ok()?.time));
    let time = times.fold(unix_now(), u64::max);
    let mark = Mark::Until { jobset: Jobsets::All, job: Some(job.clone()), time };
    project.records.mark(writer, &mark)?;
    project.records.forget_incremental(writer, None, Some(job))?;
    Ok(())
}

/// Lets a job that an audit switched off use caches again. Returns whether it was off.
pub fn allow(project: &Project, job: &JobName) -> Result<bool, CachesError> {
    let Some(writer) = &project.writer else { return Err(CachesError::ReadOnly) };
    Ok(project.records.allow(writer, job)?)
}

fn shadowed_by(recorded: Option<&FoundBranch>) -> Option<Shadowed> {
    recorded?.shadow.as_ref().map(Shadowed::from)
}
