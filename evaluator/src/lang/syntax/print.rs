//! Prints a tree as `nix-instantiate --parse` does, which shows how a text was understood.
//!
//! Everything that binds is in parentheses, and what Nix turns into calls of builtins while parsing
//! (`a - b`, `a < b`, `<name>`) is shown as such. Start at [`print`].

use super::ast::{
    AttrName, AttrSet, BinaryOperator, BindingValue, Expr, ExprKind, Formals, Lambda, Part,
};
use crate::lang::symbol::{Symbol, Symbols};

/// Returns the text of a tree.
pub fn print(expr: &Expr, symbols: &Symbols) -> Vec<u8> {
    let mut printer = Printer { symbols, out: Vec::new() };
    printer.expr(expr);
    printer.out
}

struct Printer<'a> {
    symbols: &'a Symbols,
    out: Vec<u8>,
}

impl Printer<'_> {
    fn text(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(text.as_ref());
    }

    fn name(&mut self, symbol: Symbol) {
        crate::lang::print::name(self.symbols.name(symbol), &mut self.out);
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Int(number) => self.text(number.to_string()),
            ExprKind::Float(number) => self.text(crate::lang::print::float(*number)),
            ExprKind::Text(text) => self.literal(text),
            ExprKind::String(parts) => {
                self.concatenation(parts, |printer, text| printer.literal(text));
            }
            ExprKind::Path(path) => self.text(path.bytes()),
            ExprKind::PathParts(parts) => self.path(parts),
            ExprKind::Variable(name) => self.name(*name),
            ExprKind::CurrentPosition => self.text("__curPos"),
            ExprKind::List(elements) => {
                self.text("[ ");
                for element in elements {
                    self.text("(");
                    self.expr(element);
                    self.text(") ");
                }
                self.text("]");
            }
            ExprKind::Attrs(set) => self.attrs(set),
            ExprKind::Let(set, body) => {
                self.text("(let ");
                self.bindings(set);
                self.text("in ");
                self.expr(body);
                self.text(")");
            }
            ExprKind::Select(select) => {
                self.text("(");
                self.expr(&select.subject);
                self.text(").");
                self.attr_path(&select.path);
                if let Some(default) = &select.default {
                    self.text(" or (");
                    self.expr(default);
                    self.text(")");
                }
            }
            ExprKind::HasAttr(has) => {
                self.text("((");
                self.expr(&has.subject);
                self.text(") ? ");
                self.attr_path(&has.path);
                self.text(")");
            }
            ExprKind::Lambda(lambda) => self.lambda(lambda),
            ExprKind::Call(_) | ExprKind::Negate(_) | ExprKind::SearchPath(_) => {
                self.text("(");
                self.call(expr);
                self.text(")");
            }
            ExprKind::With(set, body) => {
                self.text("(with ");
                self.expr(set);
                self.text("; ");
                self.expr(body);
                self.text(")");
            }
            ExprKind::If(parts) => {
                let [condition, yes, no] = &**parts;
                self.text("(if ");
                self.expr(condition);
                self.text(" then ");
                self.expr(yes);
                self.text(" else ");
                self.expr(no);
                self.text(")");
            }
            ExprKind::Assert(condition, body) => {
                self.text("assert ");
                self.expr(condition);
                self.text("; ");
                self.expr(body);
            }
            ExprKind::Not(inner) => {
                self.text("(! ");
                self.expr(inner);
                self.text(")");
            }
            ExprKind::Binary(operator, operands) => self.binary(expr, *operator, operands),
        }
    }

    /// Prints a call without its parentheses; a call of a call is one with more arguments.
    fn call(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Call(call) => {
                for (index, expr) in call.iter().enumerate() {
                    if index == 0 {
                        self.call(expr);
                    } else {
                        self.text(" ");
                        self.expr(expr);
                    }
                }
            }
            ExprKind::Negate(inner) => {
                self.text("__sub 0 ");
                self.expr(inner);
            }
            ExprKind::SearchPath(name) => {
                self.text("__findFile __nixPath ");
                self.literal(name);
            }
            ExprKind::Binary(operator, operands) => match called(*operator) {
                Some(Called { builtin, swapped, negated: false }) => {
                    self.builtin_call(builtin, operands, swapped);
                }
                // A negation is no call, and other operators are none either.
                Some(_) | None => self.binary(expr, *operator, operands),
            },
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Text(_)
            | ExprKind::String(_)
            | ExprKind::Path(_)
            | ExprKind::PathParts(_)
            | ExprKind::Variable(_)
            | ExprKind::CurrentPosition
            | ExprKind::List(_)
            | ExprKind::Attrs(_)
            | ExprKind::Let(..)
            | ExprKind::Select(_)
            | ExprKind::HasAttr(_)
            | ExprKind::Lambda(_)
            | ExprKind::With(..)
            | ExprKind::If(_)
            | ExprKind::Assert(..)
            | ExprKind::Not(_) => self.expr(expr),
        }
    }

    fn builtin_call(&mut self, builtin: &str, operands: &[Expr; 2], swapped: bool) {
        let [left, right] = operands;
        let (first, second) = if swapped { (right, left) } else { (left, right) };
        self.text(builtin);
        self.text(" ");
        self.expr(first);
        self.text(" ");
        self.expr(second);
    }

    fn binary(&mut self, expr: &Expr, operator: BinaryOperator, operands: &[Expr; 2]) {
        match called(operator) {
            Some(Called { builtin, swapped, negated: true }) => {
                self.text("(! (");
                self.builtin_call(builtin, operands, swapped);
                self.text("))");
            }
            Some(_) => {
                self.text("(");
                self.call(expr);
                self.text(")");
            }
            None => {
                let [left, right] = operands;
                self.text("(");
                self.expr(left);
                self.text(infix(operator));
                self.expr(right);
                self.text(")");
            }
        }
    }

    fn path(&mut self, parts: &[Part]) {
        // Only the first part is a path, what is added to it are strings.
        let mut first = true;
        self.concatenation(parts, |printer, text| {
            if std::mem::take(&mut first) {
                printer.text(text);
            } else {
                printer.literal(text);
            }
        });
    }

    fn concatenation(&mut self, parts: &[Part], mut literal: impl FnMut(&mut Self, &[u8])) {
        self.text("(");
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.text(" + ");
            }
            match part {
                Part::Text(text) => literal(self, text),
                Part::Interpolation(inner) => self.expr(inner),
            }
        }
        self.text(")");
    }

    fn literal(&mut self, text: &[u8]) {
        crate::lang::print::quote(text, &mut self.out);
    }

    fn attrs(&mut self, set: &AttrSet) {
        if set.recursive {
            self.text("rec ");
        }
        self.text("{ ");
        self.bindings(set);
        self.text("}");
    }

    /// Prints definitions: what is inherited first, then the others, each sorted by name.
    fn bindings(&mut self, set: &AttrSet) {
        let mut names: Vec<Symbol> = set.bindings.keys().copied().collect();
        names.sort_by_key(|name| self.symbols.name(*name));
        let inherited = |wanted: Option<u32>| -> Vec<Symbol> {
            let from = |name: &&Symbol| match &set.bindings[*name].value {
                BindingValue::Expr(_) => false,
                BindingValue::Inherit => wanted.is_none(),
                BindingValue::InheritFrom(source) => wanted == Some(*source),
            };
            names.iter().filter(from).copied().collect()
        };
        self.inherit(None, &inherited(None));
        for (index, source) in (0..).zip(&set.sources) {
            self.inherit(Some(source), &inherited(Some(index)));
        }
        for name in &names {
            match &set.bindings[name].value {
                BindingValue::Expr(value) => {
                    self.name(*name);
                    self.text(" = ");
                    self.expr(value);
                    self.text("; ");
                }
                BindingValue::Inherit | BindingValue::InheritFrom(_) => {}
            }
        }
        for binding in &set.dynamic {
            self.text("\"${");
            self.expr(&binding.name);
            self.text("}\" = ");
            self.expr(&binding.value);
            self.text("; ");
        }
    }

    fn inherit(&mut self, source: Option<&Expr>, names: &[Symbol]) {
        if names.is_empty() {
            return;
        }
        self.text("inherit");
        if let Some(source) = source {
            self.text(" (");
            self.expr(source);
            self.text(")");
        }
        for name in names {
            self.text(" ");
            self.name(*name);
        }
        self.text("; ");
    }

    fn attr_path(&mut self, path: &[AttrName]) {
        for (index, name) in path.iter().enumerate() {
            if index > 0 {
                self.text(".");
            }
            match name {
                AttrName::Static(name, _) => self.name(*name),
                AttrName::Dynamic(expr, _) => {
                    self.text("\"${");
                    self.expr(expr);
                    self.text("}\"");
                }
            }
        }
    }

    fn lambda(&mut self, lambda: &Lambda) {
        self.text("(");
        if let Some(formals) = &lambda.formals {
            self.formals(formals);
            if lambda.argument.is_some() {
                self.text(" @ ");
            }
        }
        if let Some(argument) = lambda.argument {
            self.name(argument);
        }
        self.text(": ");
        self.expr(&lambda.body);
        self.text(")");
    }

    fn formals(&mut self, formals: &Formals) {
        let mut sorted: Vec<_> = formals.formals.iter().collect();
        sorted.sort_by_key(|formal| self.symbols.name(formal.name));
        self.text("{ ");
        for (index, formal) in sorted.iter().enumerate() {
            if index > 0 {
                self.text(", ");
            }
            self.name(formal.name);
            if let Some(default) = &formal.default {
                self.text(" ? ");
                self.expr(default);
            }
        }
        if formals.ellipsis {
            self.text(if sorted.is_empty() { "..." } else { ", ..." });
        }
        self.text(" }");
    }
}

/// How an operator is a call of a builtin.
struct Called {
    builtin: &'static str,
    /// Whether the right operand is the first argument.
    swapped: bool,
    /// Whether the result is negated.
    negated: bool,
}

fn called(operator: BinaryOperator) -> Option<Called> {
    let call = |builtin, swapped, negated| Some(Called { builtin, swapped, negated });
    match operator {
        BinaryOperator::Subtract => call("__sub", false, false),
        BinaryOperator::Multiply => call("__mul", false, false),
        BinaryOperator::Divide => call("__div", false, false),
        BinaryOperator::Less => call("__lessThan", false, false),
        BinaryOperator::Greater => call("__lessThan", true, false),
        BinaryOperator::LessOrEqual => call("__lessThan", true, true),
        BinaryOperator::GreaterOrEqual => call("__lessThan", false, true),
        BinaryOperator::Implies
        | BinaryOperator::Or
        | BinaryOperator::And
        | BinaryOperator::Equal
        | BinaryOperator::NotEqual
        | BinaryOperator::Update
        | BinaryOperator::Add
        | BinaryOperator::Concat => None,
    }
}

fn infix(operator: BinaryOperator) -> &'static str {
    match operator {
        BinaryOperator::Implies => " -> ",
        BinaryOperator::Or => " || ",
        BinaryOperator::And => " && ",
        BinaryOperator::Equal => " == ",
        BinaryOperator::NotEqual => " != ",
        BinaryOperator::Less => " < ",
        BinaryOperator::LessOrEqual => " <= ",
        BinaryOperator::Greater => " > ",
        BinaryOperator::GreaterOrEqual => " >= ",
        BinaryOperator::Update => " // ",
        BinaryOperator::Add => " + ",
        BinaryOperator::Subtract => " - ",
        BinaryOperator::Multiply => " * ",
        BinaryOperator::Divide => " / ",
        BinaryOperator::Concat => " ++ ",
    }
}
