//! Texts that users may change: statuses, ref names, commit messages.
//!
//! Handlebars in strict mode and without HTML escaping, so that a variable that does not exist is
//! an error which names it instead of a hole in a text. Partials and decorators are refused: they
//! add nothing to one-line texts, and two that include each other would never end.
//! Start at [`Templates`], or at [`render_once`] for a single text.

use std::collections::BTreeMap;

use handlebars::template::{HelperTemplate, Parameter, Template, TemplateElement};
use handlebars::{Handlebars, Path, PathSeg, RenderError, RenderErrorReason};
use serde::Serialize;
use serde_json::Value;

/// Why a template could not be compiled or rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is not a template.
    #[error("template `{name}` does not parse{}: {message}\nhint: a variable is written `{{{{name}}}}`, a condition `{{{{#if name}}}}…{{{{/if}}}}`", at_line(*.line))]
    Syntax {
        /// The template.
        name: String,
        /// What the parser expected, on one line.
        message: String,
        /// The line within the template, from 1, where known.
        line: Option<usize>,
    },
    /// The template uses something that levain's templates do not have.
    #[error("template `{name}` uses a {construct}{}, which texts do not have\nhint: use variables and `{{{{#if}}}}` only", at_line(*.line))]
    Forbidden {
        /// The template.
        name: String,
        /// What it uses.
        construct: &'static str,
        /// The line within the template, from 1, where known.
        line: Option<usize>,
    },
    /// The template names a variable that it is not given.
    #[error("template `{name}` names the unknown variable `{variable}`{}\nhint: it may use {}", at_line(*.line), list(.known))]
    UnknownVariable {
        /// The template.
        name: String,
        /// The variable, as written.
        variable: String,
        /// The line within the template, from 1, where known.
        line: Option<usize>,
        /// The variables that it may use.
        known: Vec<String>,
    },
    /// The template could not be rendered for another reason.
    #[error("template `{name}` cannot be rendered{}: {message}", at_line(*.line))]
    Render {
        /// The template.
        name: String,
        /// What went wrong.
        message: String,
        /// The line within the template, from 1, where known.
        line: Option<usize>,
    },
    /// No template of that name was compiled.
    #[error("there is no template `{name}`")]
    NoSuchTemplate {
        /// The name asked for.
        name: String,
    },
}

impl TemplateError {
    /// Returns the name of the template that is at fault.
    pub fn name(&self) -> &str {
        match self {
            Self::Syntax { name, .. }
            | Self::Forbidden { name, .. }
            | Self::UnknownVariable { name, .. }
            | Self::Render { name, .. }
            | Self::NoSuchTemplate { name } => name,
        }
    }
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(" in line {line}")).unwrap_or_default()
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "no variables".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A set of named, parsed templates.
#[derive(Debug)]
pub struct Templates {
    registry: Handlebars<'static>,
}

impl Templates {
    /// Parses every text of a map from name to text.
    ///
    /// Only the syntax is checked here: which variables exist is known when rendering.
    pub fn compile(texts: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(handlebars::no_escape);
        for (name, text) in texts {
            let template = Template::compile_with_name(text, name.clone())
                .map_err(|error| syntax_error(name, &error))?;
            refuse_inclusions(name, &template)?;
            registry.register_template(name, template);
        }
        Ok(Self { registry })
    }

    /// Renders one template with the fields of `data` as its variables.
    pub fn render(&self, name: &str, data: &impl Serialize) -> Result<String, TemplateError> {
        let Some(template) = self.registry.get_template(name) else {
            return Err(TemplateError::NoSuchTemplate { name: name.to_owned() });
        };
        let data = serde_json::to_value(data).map_err(|error| TemplateError::Render {
            name: name.to_owned(),
            message: error.to_string(),
            line: None,
        })?;
        refuse_unknown(name, template, &data)?;
        self.registry.render(name, &data).map_err(|error| render_error(name, &data, &error))
    }
}

/// Parses and renders a text that is used only once.
///
/// `name` is what errors call it.
pub fn render_once(name: &str, text: &str, data: &impl Serialize) -> Result<String, TemplateError> {
    let texts = BTreeMap::from([(name.to_owned(), text.to_owned())]);
    Templates::compile(&texts)?.render(name, data)
}

fn syntax_error(name: &str, error: &handlebars::TemplateError) -> TemplateError {
    let line = error.pos().map(|(line, _)| line);
    let message = error.reason().to_string();
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    TemplateError::Syntax { name: name.to_owned(), message, line }
}

fn render_error(name: &str, data: &Value, error: &RenderError) -> TemplateError {
    let name = name.to_owned();
    let line = error.line_no;
    if let RenderErrorReason::MissingVariable(variable) = error.reason() {
        let variable = variable.clone().unwrap_or_default();
        return TemplateError::UnknownVariable { name, variable, line, known: variables(data) };
    }
    TemplateError::Render { name, message: error.reason().to_string(), line }
}

fn variables(data: &Value) -> Vec<String> {
    data.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

/// Visits the parts of a template that the two checks below care about.
///
/// `names` is called with each variable that is looked up in the data itself, so not with those
/// inside `each` and `with`, which look into something else.
struct Walk<'a> {
    forbidden: &'a mut dyn FnMut(&'static str, Option<usize>),
    names: &'a mut dyn FnMut(&str, Option<usize>),
}

impl Walk<'_> {
    fn template(&mut self, template: &Template, outer: bool) {
        for (index, element) in template.elements.iter().enumerate() {
            let line = template.mapping.get(index).map(|place| place.0);
            match element {
                TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
                TemplateElement::Expression(expression)
                | TemplateElement::HtmlExpression(expression)
                | TemplateElement::HelperBlock(expression) => {
                    self.expression(expression, outer, line)
                }
                TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) => {
                    (self.forbidden)("partial", line);
                }
                TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
                    (self.forbidden)("decorator", line);
                }
                // The enum is open: what a later version of handlebars adds is refused, too.
                _ => (self.forbidden)("construct", line),
            }
        }
    }

    fn expression(&mut self, expression: &HelperTemplate, outer: bool, line: Option<usize>) {
        if !expression.block && expression.params.is_empty() && expression.hash.is_empty() {
            self.parameter(&expression.name, outer, line);
        }
        for parameter in expression.params.iter().chain(expression.hash.values()) {
            self.parameter(parameter, outer, line);
        }
        let same_data = !matches!(expression.name.as_name(), Some("each" | "with"));
        for body in expression.template.iter() {
            self.template(body, outer && same_data);
        }
        for body in expression.inverse.iter() {
            self.template(body, outer);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "handlebars' open enum: literals, local variables such as `@index`, and whatever \
                  a later version adds, are not looked up in the data"
    )]
    fn parameter(&mut self, parameter: &Parameter, outer: bool, line: Option<usize>) {
        match parameter {
            Parameter::Name(name) if outer => (self.names)(name, line),
            Parameter::Path(Path::Relative((segments, _))) if outer => {
                // A path that starts with `this`, `..` or `@root` is left to strict mode.
                if let Some(PathSeg::Named(name)) = segments.first() {
                    (self.names)(name, line);
                }
            }
            Parameter::Subexpression(inner) => {
                if let TemplateElement::Expression(expression) = inner.as_element() {
                    self.expression(expression, outer, line);
                }
            }
            _ => {}
        }
    }
}

fn refuse_inclusions(name: &str, template: &Template) -> Result<(), TemplateError> {
    let mut found = None;
    let mut forbidden = |construct, line| {
        found.get_or_insert((construct, line));
    };
    Walk { forbidden: &mut forbidden, names: &mut |_, _| {} }.template(template, true);
    match found {
        Some((construct, line)) => {
            Err(TemplateError::Forbidden { name: name.to_owned(), construct, line })
        }
        None => Ok(()),
    }
}

/// Refuses variables that the data does not have, wherever they stand.
///
/// Strict mode alone does not look at the condition of `{{#if …}}`, nor into the branch that is
/// not taken: a misspelt name would show years later, or never.
fn refuse_unknown(name: &str, template: &Template, data: &Value) -> Result<(), TemplateError> {
    let mut found = None;
    let mut names = |variable: &str, line| {
        if data.get(variable).is_none() {
            found.get_or_insert((variable.to_owned(), line));
        }
    };
    Walk { forbidden: &mut |_, _| {}, names: &mut names }.template(template, true);
    match found {
        Some((variable, line)) => Err(TemplateError::UnknownVariable {
            name: name.to_owned(),
            variable,
            line,
            known: variables(data),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data() -> Value {
        json!({ "job": "x86_64-linux.a", "seconds": 3, "cache": null, "list": [{ "x": 1 }] })
    }

    #[test]
    fn a_text_is_rendered_without_escaping() {
        let text = render_once("t", "<{{job}}> & {{seconds}} s", &data());
        assert_eq!(text.as_deref(), Ok("<x86_64-linux.a> & 3 s"));
        let text = render_once("t", "{{job}}", &json!({ "job": "a\"b'c<&>" }));
        assert_eq!(text.as_deref(), Ok("a\"b'c<&>"));
    }

    #[test]
    fn a_null_variable_exists_and_is_false() {
        let text = render_once("t", "a{{#if cache}} {{cache}}{{else}}!{{/if}}{{cache}}", &data());
        assert_eq!(text.as_deref(), Ok("a!"));
    }

    #[test]
    fn an_unknown_variable_is_named_with_its_template_and_line() {
        let error = render_once("success_clean", "built\nin {{second}} s", &data()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "template `success_clean` names the unknown variable `second` in line 2\n\
             hint: it may use `cache`, `job`, `list`, `seconds`"
        );
    }

    #[test]
    fn an_unknown_variable_is_found_in_conditions_and_in_branches_not_taken() {
        for text in [
            "{{#if cach}}a{{/if}}",
            "{{#if cache}}{{cach}}{{/if}}",
            "{{#if job}}a{{else}}{{cach.x}}{{/if}}",
            "{{#unless (eq cach 1)}}a{{/unless}}",
            "{{#each cach}}a{{/each}}",
        ] {
            let error = render_once("t", text, &data()).unwrap_err();
            let TemplateError::UnknownVariable { name, variable, .. } = error else {
                panic!("{text}: {error}")
            };
            assert_eq!((name.as_str(), variable.as_str()), ("t", "cach"), "{text}");
        }
    }

    #[test]
    fn names_inside_each_and_with_belong_to_the_inner_data() {
        let text = render_once("t", "{{#each list}}{{x}}{{@index}}{{/each}}", &data());
        assert_eq!(text.as_deref(), Ok("10"));
        let error = render_once("t", "{{#each list}}{{y}}{{/each}}", &data()).unwrap_err();
        assert!(matches!(error, TemplateError::UnknownVariable { .. }), "{error}");
    }

    #[test]
    fn a_syntax_error_names_template_and_line() {
        let error = render_once("failure", "a\n{{#if job}}b", &data()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("template `failure` does not parse in line "), "{text}");
        assert_eq!(error.name(), "failure");
    }

    #[test]
    fn templates_cannot_include_each_other() {
        for text in [
            "{{> t}}",
            "{{#> t}}{{/t}}",
            "{{#*inline \"u\"}}{{/inline}}",
            "{{#if job}}{{> u}}{{/if}}",
        ] {
            let error = render_once("t", text, &data()).unwrap_err();
            assert!(matches!(error, TemplateError::Forbidden { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn a_template_that_was_not_compiled_is_an_error() {
        let templates = Templates::compile(&BTreeMap::new()).unwrap();
        let error = templates.render("pending", &data()).unwrap_err();
        assert_eq!(error, TemplateError::NoSuchTemplate { name: "pending".to_owned() });
    }
}
