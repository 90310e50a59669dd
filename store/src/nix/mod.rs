//! Starting Nix's programs: the only place in the crate where a process is started.
//!
//! Start at [`NixProgram`].

mod confinement;
mod daemon;
mod eval;
mod program;
mod stop;
mod value;

pub use confinement::Confinement;
pub(crate) use daemon::DaemonChild;
pub use eval::{EvalError, EvalFailure, EvalRequest, Exit};
pub use program::{NixProgram, NixProgramError, NixVersion};
pub use stop::Stop;
pub use value::{PrintedValue, ValueFormat, ValueRequest, ValueSource};
