//! The server: keeps what forges deliver until something became of it, and carries out what that calls for.
//!
//! Start at [`http::router`] for what comes in, at [`Database`] for what is kept, and at [`serving::Running`] for what is
//! done. Evaluating and building is the engine's: the server knows it as a [`workshop::Workshop`].

pub mod approvals;
pub mod approve;
pub mod apps;
pub mod backup;
pub mod clock;
pub mod counters;
pub mod database;
pub mod deliveries;
pub mod doctor;
pub mod forges;
pub mod http;
pub mod identity;
pub mod live;
pub mod logins;
pub mod metrics;
pub mod pages;
pub mod people;
pub mod points;
pub mod projects;
pub mod reconcile;
pub mod records;
pub mod rights;
pub mod roles;
pub mod runs;
pub mod schedule;
pub mod secret;
pub mod serving;
pub mod settings;
pub mod shown;
pub mod statuses;
mod wishes;
pub mod workshop;

pub use database::{Database, DatabaseError};
