//! Starting Nix's programs: the only place in the crate where a process is started.
//!
//! Start at [`NixProgram`].

mod allowed_path;
mod alone;
mod bounded;
mod build_settings;
mod confinement;
mod daemon;
mod declining_hook;
mod direct;
mod entry;
mod eval;
mod fetch;
mod gate;
mod messages;
mod network;
mod process;
mod program;
mod repository;
mod session;
mod settings;
mod ssh_config;
mod stop;
mod value;

pub use allowed_path::{AllowedPath, RelativePath};
pub use bounded::Bounded;
pub use build_settings::{BuildSettings, BuildSettingsError};
pub use confinement::{Confinement, Network};
pub(crate) use daemon::DaemonChild;
pub use declining_hook::DecliningHook;
pub use direct::DirectProtocol;
pub use entry::run as enter_evaluation;
pub use eval::{EvalError, EvalFailure, EvalRequest, Exit};
pub use fetch::FetchRequest;
pub use network::{AllowedHost, AllowedHostError, Refusal};
pub use process::{Deadline, Exceeded, ProcessLimits};
pub use program::{NixProgram, NixProgramError, NixVersion};
pub use repository::{CommitView, ShowError, ShownCommit};
pub use session::{EvalSession, SessionError};
pub use stop::Stop;
pub use value::{PrintedValue, ValueFormat, ValueRequest, ValueSource};
