//! Statuses: hears the events of a run, and tells the forge on the author's original commit.
//!
//! Start at [`Poster`], which sends from memory beside the run, or at [`Wording`], which only says
//! what there is to be told.

mod closed;
mod memory;
mod poster;
mod wording;

pub use closed::Closed;
pub use poster::{Poster, PosterError, Sending};
pub use wording::{Wording, summary_text};
