//! Makes pages out of templates and models.
//!
//! Everything that a template names is escaped; what builds printed goes through [`ansi`] and sentences through
//! [`escape::prose`], which make markup of their own only. A template that names what its model does not have is an error, not a hole.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError,
};
use levain_store::counted;
use ring::digest;
use serde::Serialize;

use super::{ansi, escape};

/// The templates: what each is called, and its text.
const TEMPLATES: &[(&str, &str)] = &[
    ("layout", include_str!("../../templates/layout.hbs")),
    ("mark", include_str!("../../templates/mark.hbs")),
    ("when", include_str!("../../templates/when.hbs")),
    ("runs", include_str!("../../templates/runs.hbs")),
    ("head", include_str!("../../templates/head.hbs")),
    ("no_default", include_str!("../../templates/no_default.hbs")),
    ("jobrow", include_str!("../../templates/jobrow.hbs")),
    ("failure", include_str!("../../templates/failure.hbs")),
    ("overview", include_str!("../../templates/overview.hbs")),
    ("project", include_str!("../../templates/project.hbs")),
    ("jobset", include_str!("../../templates/jobset.hbs")),
    ("run", include_str!("../../templates/run.hbs")),
    ("job", include_str!("../../templates/job.hbs")),
    ("log", include_str!("../../templates/log.hbs")),
    ("pull_request", include_str!("../../templates/pull_request.hbs")),
    ("queue", include_str!("../../templates/queue.hbs")),
    ("deliveries", include_str!("../../templates/deliveries.hbs")),
    ("delivery", include_str!("../../templates/delivery.hbs")),
    ("settings", include_str!("../../templates/settings.hbs")),
    ("health", include_str!("../../templates/health.hbs")),
    ("cache", include_str!("../../templates/cache.hbs")),
    ("atom", include_str!("../../templates/atom.hbs")),
    ("badge", include_str!("../../templates/badge.hbs")),
    ("sign_in", include_str!("../../templates/sign_in.hbs")),
    ("apps", include_str!("../../templates/apps.hbs")),
    ("missing", include_str!("../../templates/missing.hbs")),
];

/// The style sheet of all pages.
pub const STYLE: &str = include_str!("../../assets/levain.css");
/// What pages can do besides, where scripts run.
pub const SCRIPT: &str = include_str!("../../assets/levain.js");
/// The icon of all pages.
pub const ICON: &str = include_str!("../../assets/levain.svg");

/// Makes pages.
#[derive(Debug)]
pub struct Renderer {
    registry: Handlebars<'static>,
    version: String,
}

/// What all pages have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View<M> {
    /// The title, without the product's name.
    pub title: String,
    /// Where the page is, for links to it that stay.
    pub path: String,
    /// Where its twin is.
    pub json: String,
    /// Which part of the navigation it belongs to.
    pub section: &'static str,
    /// Where it is told when the page changes, if it does.
    pub live: Option<String>,
    /// What is on it.
    pub page: M,
}

/// A page could not be made: a mistake of the product's.
#[derive(Debug, thiserror::Error)]
#[error("the page `{template}` cannot be made: {source}")]
pub struct PageError {
    template: &'static str,
    #[source]
    source: Box<RenderError>,
}

#[derive(Serialize)]
struct Whole<'a, M> {
    version: &'a str,
    #[serde(flatten)]
    view: &'a View<M>,
}

impl Renderer {
    /// Reads the templates, which are part of the program.
    pub fn new() -> Self {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.set_prevent_indent(true);
        registry.register_escape_fn(escape::html);
        // `{{ansi text}}`: what a build printed. `{{prose text}}`: a sentence of levain's, in which backticks mark names.
        let helpers: [(&str, Write); 4] = [
            ("ansi", |helper| ansi::html(text(helper, 0))),
            ("prose", |helper| escape::prose(text(helper, 0))),
            ("counted", write_counted),
            ("loglines", write_log_lines),
        ];
        for (name, write) in helpers {
            registry.register_helper(name, Box::new(Written(write)));
        }
        for (name, text) in TEMPLATES {
            registry
                .register_template_string(name, text)
                .expect("the templates of the program are read by its tests");
        }
        let both = digest::digest(&digest::SHA256, [STYLE, SCRIPT].concat().as_bytes());
        let version = data_encoding::HEXLOWER.encode(&both.as_ref()[..6]);
        Self { registry, version }
    }

    /// Returns what stands in the addresses of style and script, which change with them.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes a page.
    pub fn page<M: Serialize>(
        &self,
        template: &'static str,
        view: &View<M>,
    ) -> Result<String, PageError> {
        let whole = Whole { version: &self.version, view };
        self.registry
            .render(template, &whole)
            .map_err(|source| PageError { template, source: Box::new(source) })
    }
}

impl Default for Renderer {
    fn default() -> Self {
        Self::new()
    }
}

/// A helper of templates: returns HTML, in which all that others wrote is escaped.
struct Written(Write);

/// Returns what a helper of templates writes.
type Write = fn(&Helper<'_>) -> String;

impl HelperDef for Written {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        out.write(&(self.0)(helper))?;
        Ok(())
    }
}

fn text<'h>(helper: &'h Helper<'_>, place: usize) -> &'h str {
    helper.param(place).and_then(|value| value.value().as_str()).unwrap_or_default()
}

/// `{{counted number "job"}}`: `1 job`, `2 jobs`.
fn write_counted(helper: &Helper<'_>) -> String {
    let count = helper.param(0).and_then(|value| value.value().as_u64()).unwrap_or_default();
    escape::html(&counted(count, text(helper, 1)))
}

/// `{{loglines lines hit}}`: lines of a log, the one of that number marked.
fn write_log_lines(helper: &Helper<'_>) -> String {
    let lines = helper.param(0).and_then(|value| value.value().as_array());
    let hit = helper.param(1).and_then(|value| value.value().as_u64());
    let read = |line: &'_ serde_json::Value| {
        Some((line.get("number")?.as_u64()?, line.get("text")?.as_str()?.to_owned()))
    };
    let lines: Vec<(u64, String)> = lines.into_iter().flatten().filter_map(read).collect();
    log_lines(lines.iter().map(|(number, text)| (*number, text.as_str())), hit)
}

/// Returns lines of a log as HTML, each with its number as an anchor.
pub fn log_lines<'l>(lines: impl Iterator<Item = (u64, &'l str)>, hit: Option<u64>) -> String {
    let mut html = String::new();
    for (number, text) in lines {
        let class = if hit == Some(number) { " class=\"hit\"" } else { "" };
        // Whoever goes through a page by keyboard need not go through each line.
        html.push_str(&format!(
            "<p id=\"L{number}\"{class}><a href=\"#L{number}\" tabindex=\"-1\">{number}</a>{}</p>\n",
            ansi::line(text)
        ));
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_as_it_is_but_by_the_two_that_may() {
        for (name, text) in TEMPLATES {
            assert!(!text.contains("{{{") && !text.contains("{{&"), "{name}");
        }
    }

    #[test]
    fn no_field_is_called_as_a_builtin_is() {
        // Such a field would be called in place of being shown: what is left is a hole.
        for builtin in ["log", "raw", "lookup", "len", "eq", "ne", "gt", "lt", "not", "and", "or"] {
            for (name, text) in TEMPLATES {
                assert!(!text.contains(&format!("{{{{{builtin}}}}}")), "{name}: {builtin}");
            }
        }
    }

    #[test]
    fn what_a_model_does_not_have_is_an_error() {
        let view = View {
            title: "x".to_owned(),
            path: "/".to_owned(),
            json: "/.json".to_owned(),
            section: "",
            live: None,
            page: serde_json::json!({}),
        };
        assert!(Renderer::new().page("missing", &view).is_err());
    }
}
