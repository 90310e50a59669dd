//! Order of evaluation, errors, messages, and other files.

use super::strings::COPYING;
use super::{Builtin, Scope, derivation, files};
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::eval::Evaluator;
use crate::lang::io::Message;
use crate::lang::print;
use crate::lang::source::Span;
use crate::lang::value::{AttrsBuilder, Context, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "abort",
        arity: 1,
        parameters: &["message"],
        scope: Scope::Global,
        run: abort,
        about: "Ends the evaluation with an error that nothing catches.",
    },
    Builtin {
        name: "addErrorContext",
        arity: 2,
        parameters: &["message", "value"],
        scope: Scope::Prefixed,
        run: add_error_context,
        about: "Returns a value; errors while evaluating it tell the message as well.",
    },
    Builtin {
        name: "break",
        arity: 1,
        parameters: &["value"],
        scope: Scope::Global,
        run: |_, args, _| Ok(args[0].clone()),
        about: "Returns a value; a debugger would stop here.",
    },
    Builtin {
        name: "deepSeq",
        arity: 2,
        parameters: &["first", "second"],
        scope: Scope::Prefixed,
        run: deep_seq,
        about: "Evaluates a value with all that is in it, then returns another.",
    },
    Builtin {
        name: "import",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Global,
        run: import,
        about: "Evaluates a file.",
    },
    Builtin {
        name: "scopedImport",
        arity: 2,
        parameters: &["scope", "path"],
        scope: Scope::Global,
        run: scoped_import,
        about: "Evaluates a file with further variables.",
    },
    Builtin {
        name: "seq",
        arity: 2,
        parameters: &["first", "second"],
        scope: Scope::Prefixed,
        run: seq,
        about: "Evaluates a value, then returns another.",
    },
    Builtin {
        name: "throw",
        arity: 1,
        parameters: &["message"],
        scope: Scope::Global,
        run: throw,
        about: "Ends the evaluation with an error that `tryEval` catches.",
    },
    Builtin {
        name: "trace",
        arity: 2,
        parameters: &["message", "value"],
        scope: Scope::Prefixed,
        run: trace,
        about: "Shows a message, then returns a value.",
    },
    Builtin {
        name: "traceVerbose",
        arity: 2,
        parameters: &["message", "value"],
        scope: Scope::Prefixed,
        run: trace_verbose,
        about: "Shows a message if that is wanted, then returns a value.",
    },
    Builtin {
        name: "tryEval",
        arity: 1,
        parameters: &["value"],
        scope: Scope::Prefixed,
        run: try_eval,
        about: "Evaluates a value and says whether that succeeded.",
    },
    Builtin {
        name: "warn",
        arity: 2,
        parameters: &["message", "value"],
        scope: Scope::Prefixed,
        run: warn,
        about: "Shows a warning, then returns a value.",
    },
];

fn message(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<String> {
    let text = ev.coerce_to_string(&args[0], at, COPYING, &mut Context::new())?;
    Ok(text.text().into_owned())
}

fn abort(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let message = message(ev, args, at)?;
    Err(Error::new(ErrorKind::Aborted { message }, at))
}

fn throw(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let message = message(ev, args, at)?;
    Err(Error::new(ErrorKind::Thrown { message }, at))
}

fn add_error_context(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let mut error = match ev.force(&args[1], at) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let text = ev.coerce_to_string(&args[0], at, super::strings::PLAIN, &mut Context::new())?;
    error.push_context(at, || text.text().into_owned());
    Err(error)
}

fn seq(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    ev.force(&args[0], at)?;
    Ok(args[1].clone())
}

fn deep_seq(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    ev.deep_force(&args[0], at)?;
    Ok(args[1].clone())
}

fn try_eval(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let (success, value) = match ev.force(&args[0], at) {
        Ok(value) => (true, value),
        Err(error) if error.kind().is_catchable() => (false, Value::Bool(false)),
        Err(error) => return Err(error),
    };
    let mut attrs = AttrsBuilder::with_capacity(2);
    attrs.push(ev.symbols.intern("success"), Value::Bool(success));
    attrs.push(ev.symbols.intern("value"), value);
    Ok(Value::attrs(attrs.finish()))
}

fn trace(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let message = ev.force(&args[0], at)?;
    let shown = if let Value::String(text) = &message {
        text.bytes().to_vec()
    } else {
        print::print_traced(ev, &message)?
    };
    ev.io.message(Message::Trace(shown), at);
    Ok(args[1].clone())
}

fn trace_verbose(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    if ev.options.settings.trace_verbose { trace(ev, args, at) } else { Ok(args[1].clone()) }
}

fn warn(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.force_string(&args[0], at)?;
    ev.io.message(Message::Warning(text.bytes().to_vec()), at);
    if ev.options.settings.abort_on_warn {
        return Err(Error::new(ErrorKind::Warned, at));
    }
    Ok(args[1].clone())
}

fn import(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let (path, context) = ev.force_path(&args[0], at)?;
    ev.realise_context(&context, at)?;
    match files::internal_file(&path) {
        Some((name, text)) => ev.evaluate_internal(name, text),
        None => match derivation::import(ev, &path, at)? {
            Some(derivation) => Ok(derivation),
            None => ev.import(&path, at),
        },
    }
}

fn scoped_import(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let scope = ev.force_attrs(&args[0], at)?;
    let (path, context) = ev.force_path(&args[1], at)?;
    ev.realise_context(&context, at)?;
    ev.import_scoped(&path, &scope, at)
}
