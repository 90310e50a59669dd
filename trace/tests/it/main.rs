//! Programs run under the tracer do what they do without it.

mod alike;
mod support;
