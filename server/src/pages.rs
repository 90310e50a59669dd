//! What people see of the server in a browser: how pages are made, without HTTP and without the database.
//!
//! A page is a template of handlebars and a model; the model as JSON is the page's twin. What is in a model was mostly
//! written by others, so it is text, never HTML: [`Renderer`] escapes all of it. Start there. The routes are in
//! `crate::http`.

pub mod ansi;
pub mod comparison;
pub mod escape;
pub mod eta;
pub mod gain;
pub mod kept_report;
pub mod links;
pub mod log_file;
pub mod marks;
pub mod moment;
pub mod places;
pub mod renderer;
pub mod reproduce;
pub mod slots;

pub use links::run_url;
pub use renderer::Renderer;
