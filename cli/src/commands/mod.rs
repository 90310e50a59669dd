//! One file per command.

pub(crate) mod again;
pub(crate) mod app;
pub(crate) mod approve;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod cache;
pub(crate) mod chosen;
pub(crate) mod delivery;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod expression;
pub(crate) mod log;
pub(crate) mod project;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod sign_in;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod watch;
pub(crate) mod why;
