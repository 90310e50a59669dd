//! Calls of functions, builtins and sets with `__functor`.

use std::rc::Rc;

use super::Evaluator;
use super::env::{Closure, Env};
use super::expression::delay;
use crate::lang::builtins::Builtin;
use crate::lang::error::{Error, ErrorKind, Result, suggest};
use crate::lang::print;
use crate::lang::resolve::{Call, Code, Formals, Lambda};
use crate::lang::source::Span;
use crate::lang::value::{Attrs, Partial, Value};

/// The most arguments that a builtin takes.
const MAX_ARITY: usize = 3;

impl Evaluator {
    /// Calls a function with one argument; the result is forced.
    pub fn call1(&mut self, function: &Value, argument: Value, at: Span) -> Result<Value> {
        let function = self.force_ref(function, at)?;
        if let Value::Closure(closure) = function {
            let called = self.one_deeper(at, |ev| ev.call_closure(closure, &[argument], at));
            return called.map(|(value, _)| value);
        }
        self.call(function, &[argument], at)
    }

    /// Calls a function with arguments; the result is forced.
    pub fn call(&mut self, function: &Value, arguments: &[Value], at: Span) -> Result<Value> {
        let function = self.force_ref(function, at)?;
        if arguments.is_empty() {
            return Ok(function.clone());
        }
        let (mut result, mut taken) = self.apply(function, arguments, at)?;
        while taken < arguments.len() {
            let more;
            (result, more) = self.apply(&result, &arguments[taken..], at)?;
            taken += more;
        }
        Ok(result)
    }

    pub(super) fn eval_call(&mut self, call: &'static Call, env: &Rc<Env>) -> Result<Value> {
        let function = self.eval(&call.function, env)?;
        match call.arguments.as_ref() {
            [one] => self.call1(&function, delay(one, env), call.span),
            [one, two] => self.call(&function, &[delay(one, env), delay(two, env)], call.span),
            [one, two, three] => {
                let arguments = [delay(one, env), delay(two, env), delay(three, env)];
                self.call(&function, &arguments, call.span)
            }
            many => {
                let arguments: Vec<Value> = many.iter().map(|code| delay(code, env)).collect();
                self.call(&function, &arguments, call.span)
            }
        }
    }

    /// Applies a function to as many arguments as it takes; returns how many that were.
    fn apply(&mut self, function: &Value, rest: &[Value], at: Span) -> Result<(Value, usize)> {
        self.one_deeper(at, |ev| ev.apply_counted(function, rest, at))
    }

    /// Does something that counts as one call: whatever may go on without end through data.
    #[inline]
    pub(in crate::lang) fn one_deeper<T>(
        &mut self,
        at: Span,
        inner: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if self.depth >= self.options.settings.max_call_depth || self.check_stack(at).is_err() {
            return Err(Error::new(ErrorKind::CallDepth, at));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Whether [`one_deeper`](Self::one_deeper) would do anything. What needs no call of its own asks this
    /// instead, so that it fails where a call would.
    #[inline]
    pub(super) fn may_go_deeper(&self) -> bool {
        self.depth < self.options.settings.max_call_depth
    }

    fn apply_counted(
        &mut self,
        function: &Value,
        rest: &[Value],
        at: Span,
    ) -> Result<(Value, usize)> {
        match function {
            Value::Closure(closure) => self.call_closure(closure, rest, at),
            Value::Builtin(builtin) => self.call_builtin(builtin, &[], rest, at),
            Value::Partial(partial) => {
                self.call_builtin(partial.builtin, &partial.arguments, rest, at)
            }
            Value::Attrs(attrs) => {
                let Some(functor) = attrs.value(self.known.functor).cloned() else {
                    return Err(self.not_a_function(function, at));
                };
                let arguments = [function.clone(), rest[0].clone()];
                let value = self.call(&functor, &arguments, at).map_err(|error| {
                    error.context(
                        "while calling a functor (an attribute set with a `__functor` attribute)",
                        at,
                    )
                })?;
                Ok((value, 1))
            }
            Value::Thunk(_) => {
                let function = self.force(function, at)?;
                self.apply_counted(&function, rest, at)
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::Path(_)
            | Value::List(_) => Err(self.not_a_function(function, at)),
        }
    }

    fn not_a_function(&self, value: &Value, at: Span) -> Error {
        let found = print::described(self, value);
        let expected = "a function".to_owned();
        Error::new(ErrorKind::Type { expected, found }, at)
    }

    /// Calls a function with as many arguments as it names one after another; returns how many those
    /// were. Functions that only wait for the next argument are not made.
    fn call_closure(
        &mut self,
        closure: &Closure,
        arguments: &[Value],
        at: Span,
    ) -> Result<(Value, usize)> {
        let mut lambda = closure.lambda;
        let mut taken = 1;
        let mut env = self.bind(lambda, &closure.env, &arguments[0], at)?;
        while let (Code::Lambda(next), Some(argument)) = (&lambda.body, arguments.get(taken)) {
            lambda = next;
            taken += 1;
            env = self.bind(lambda, &env, argument, at)?;
        }
        match self.eval(&lambda.body, &env) {
            Ok(value) => Ok((value, taken)),
            Err(mut error) => {
                error.push_context(at, || format!("while calling {}", self.function_name(lambda)));
                Err(error)
            }
        }
    }

    /// Makes the environment of a function's body.
    fn bind(
        &mut self,
        lambda: &'static Lambda,
        outer: &Rc<Env>,
        argument: &Value,
        at: Span,
    ) -> Result<Rc<Env>> {
        match &lambda.formals {
            None => Ok(Rc::new(Env::one(Some(Rc::clone(outer)), argument.clone()))),
            Some(formals) => self.match_formals(lambda, outer, formals, argument, at),
        }
    }

    /// Returns what a function is called in messages.
    fn function_name(&self, lambda: &Lambda) -> String {
        match lambda.name {
            Some(name) => format!("`{}`", self.symbols.text(name)),
            None => "an anonymous function".to_owned(),
        }
    }

    /// Makes the environment of a function that takes an attribute set apart.
    fn match_formals(
        &mut self,
        lambda: &'static Lambda,
        outer: &Rc<Env>,
        formals: &'static Formals,
        argument: &Value,
        at: Span,
    ) -> Result<Rc<Env>> {
        let attrs = self.force_attrs(argument, lambda.span)?;
        let first = usize::from(lambda.argument.is_some());
        let count = first + formals.formals.len();
        let env = Rc::new(Env::many(Some(Rc::clone(outer)), count));
        if lambda.argument.is_some() {
            env.set(0, argument.clone());
        }
        let mut used = 0;
        // Both are sorted by symbol, so what was passed over need not be looked at again.
        let mut rest = attrs.iter();
        for (slot, formal) in (first..).zip(&formals.formals) {
            match rest.find_next(formal.name).map(|attr| &attr.value) {
                Some(value) => {
                    used += 1;
                    env.set(slot, value.clone());
                }
                // Defaults may refer to arguments that come later; their slots are set below.
                None if formal.default.is_some() => {}
                None => {
                    // An argument that nobody asked for may be the missing one, misspelled.
                    let given = attrs.iter().map(|attr| attr.name);
                    let strange = given
                        .filter(|name| formals.formals.iter().all(|formal| formal.name != *name));
                    let strange = strange.map(|name| self.symbols.name(name));
                    let suggestion = suggest(self.symbols.name(formal.name), strange);
                    let kind = ErrorKind::MissingArgument {
                        function: self.lambda_name(lambda),
                        name: self.symbols.text(formal.name),
                        suggestion,
                    };
                    return Err(
                        Error::new(kind, lambda.span).context("while calling this function", at)
                    );
                }
            }
        }
        if !formals.ellipsis && used < attrs.len() {
            return Err(self.unexpected_argument(lambda, formals, &attrs, at));
        }
        if used < formals.formals.len() {
            for (slot, formal) in (first..).zip(&formals.formals) {
                if let Some(default) = &formal.default
                    && env.get(slot).is_none()
                {
                    env.set(slot, delay(default, &env));
                }
            }
        }
        Ok(env)
    }

    fn lambda_name(&self, lambda: &Lambda) -> String {
        lambda.name.map_or_else(|| "anonymous lambda".to_owned(), |name| self.symbols.text(name))
    }

    fn unexpected_argument(
        &self,
        lambda: &Lambda,
        formals: &Formals,
        attrs: &Attrs,
        at: Span,
    ) -> Error {
        let takes = |name| formals.formals.binary_search_by_key(&name, |f| f.name).is_ok();
        let Some(attr) = attrs.iter().find(|attr| !takes(attr.name)) else {
            let what = "more arguments than formals, but each is one".to_owned();
            return Error::new(ErrorKind::Bug { what }, at);
        };
        let known = formals.formals.iter().map(|formal| self.symbols.name(formal.name));
        let kind = ErrorKind::UnexpectedArgument {
            function: self.lambda_name(lambda),
            name: self.symbols.text(attr.name),
            suggestion: suggest(self.symbols.name(attr.name), known),
        };
        Error::new(kind, lambda.span).context("while calling this function", at)
    }

    /// Calls a builtin if it has all its arguments; returns how many of `rest` it took.
    fn call_builtin(
        &mut self,
        builtin: &'static Builtin,
        first: &[Value],
        rest: &[Value],
        at: Span,
    ) -> Result<(Value, usize)> {
        let missing = builtin.arity.saturating_sub(first.len());
        if rest.len() < missing {
            let mut arguments = Vec::with_capacity(first.len() + rest.len());
            arguments.extend_from_slice(first);
            arguments.extend_from_slice(rest);
            return Ok((Value::Partial(Rc::new(Partial { builtin, arguments })), rest.len()));
        }
        let result = if first.is_empty() {
            (builtin.run)(self, &rest[..missing], at)
        } else {
            const { assert!(MAX_ARITY == 3, "the array below has as many elements") };
            let mut arguments = [Value::Null, Value::Null, Value::Null];
            for (place, value) in arguments.iter_mut().zip(first.iter().chain(&rest[..missing])) {
                *place = value.clone();
            }
            (builtin.run)(self, &arguments[..builtin.arity.min(MAX_ARITY)], at)
        };
        match result.and_then(|value| self.force(&value, at)) {
            Ok(value) => Ok((value, missing)),
            Err(mut error) => {
                error = error.or_at(at);
                error.push_context(at, || format!("while calling the `{}` builtin", builtin.name));
                Err(error)
            }
        }
    }
}
