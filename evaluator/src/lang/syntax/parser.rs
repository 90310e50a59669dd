//! The parser: recursive descent for what begins with a word, binding powers for operators.
//!
//! One token is looked at; a few more where `{` may begin a set or a pattern. The parser needs
//! native stack in proportion to the nesting of its input, and refuses more than [`MAX_DEPTH`].

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a parser names the tokens that fit; every other one is an error"
)]

use super::ast::{
    AttrName, BinaryOperator, Expr, ExprKind, Formal, Formals, HasAttr, Lambda, Part, Select,
};
use super::lexer::{Lexeme, Runs, Token, lex, next_byte};
use super::lint::Literal;
use crate::lang::error::{Error, ErrorKind, Result, Warning};
use crate::lang::settings::Lints;
use crate::lang::source::Span;
use crate::lang::symbol::{Symbol, Symbols};
use crate::lang::value::NixPath;

/// How deep expressions may be nested.
pub(super) const MAX_DEPTH: usize = 10_000;
/// How many operators may follow one another; each makes the tree one level deeper.
const MAX_CHAIN: usize = 200_000;

/// What parsing depends on besides the text.
#[derive(Debug, Clone, Default)]
pub struct ParseOptions {
    /// The directory against which relative paths are taken.
    pub directory: Vec<u8>,
    /// The home directory, if `~/…` may be used.
    pub home: Option<Vec<u8>>,
    /// Whether `|>` and `<|` are operators.
    pub pipe_operators: bool,
    /// Which literals are reported.
    pub lints: Lints,
}

/// Parses a whole source, whose first byte has the number `base`.
///
/// What is worth a warning is added to `warnings`, also if there is an error behind it.
pub fn parse(
    text: &[u8],
    base: u32,
    symbols: &mut Symbols,
    options: &ParseOptions,
    warnings: &mut Vec<Warning>,
) -> Result<Expr> {
    let mut runs = Runs::default();
    let token = lex(text, 0, &mut runs);
    let mut parser = Parser {
        text,
        base,
        symbols,
        options,
        warnings,
        directory: NixPath::canonical(&options.directory),
        token,
        taken: 0,
        runs,
        depth: 0,
        ends_with_or: false,
        exprs: Vec::new(),
        names: Vec::new(),
        parts: Vec::new(),
    };
    let expr = parser.expr()?;
    if parser.token.token != Token::End {
        return Err(parser.unexpected("the end of the expression"));
    }
    Ok(expr)
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a [u8],
    base: u32,
    pub(super) symbols: &'a mut Symbols,
    pub(super) options: &'a ParseOptions,
    pub(super) warnings: &'a mut Vec<Warning>,
    pub(super) directory: NixPath,
    pub(super) token: Lexeme,
    /// Where the token before this one ends, or the string or path.
    taken: usize,
    runs: Runs,
    depth: usize,
    /// Whether the last selection was a call of something with the variable `or`.
    pub(super) ends_with_or: bool,
    /// Elements and arguments of lists and calls that are not complete yet; when one is, its
    /// elements go into a box of their number.
    exprs: Vec<Expr>,
    /// The same for the names of attribute paths.
    pub(super) names: Vec<AttrName>,
    /// The same for the parts of strings and paths.
    pub(super) parts: Vec<Part>,
}

/// How an operator groups with its equals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Associativity {
    Left,
    Right,
    None,
}

/// The level of `!`, whose operand takes everything that binds more strongly.
const NOT_LEVEL: u8 = 7;
/// The level of `-` before an expression.
const NEGATE_LEVEL: u8 = 12;
/// The level of `?`.
const HAS_ATTR_LEVEL: u8 = 11;

fn binary(token: Token) -> Option<(BinaryOperator, u8, Associativity)> {
    use Associativity::{Left, None as Not, Right};
    Some(match token {
        Token::Implies => (BinaryOperator::Implies, 1, Right),
        Token::OrOr => (BinaryOperator::Or, 2, Left),
        Token::AndAnd => (BinaryOperator::And, 3, Left),
        Token::Equal => (BinaryOperator::Equal, 4, Not),
        Token::NotEqual => (BinaryOperator::NotEqual, 4, Not),
        Token::Char(b'<') => (BinaryOperator::Less, 5, Not),
        Token::LessOrEqual => (BinaryOperator::LessOrEqual, 5, Not),
        Token::Char(b'>') => (BinaryOperator::Greater, 5, Not),
        Token::GreaterOrEqual => (BinaryOperator::GreaterOrEqual, 5, Not),
        Token::Update => (BinaryOperator::Update, 6, Right),
        Token::Char(b'+') => (BinaryOperator::Add, 8, Left),
        Token::Char(b'-') => (BinaryOperator::Subtract, 8, Left),
        Token::Char(b'*') => (BinaryOperator::Multiply, 9, Left),
        Token::Char(b'/') => (BinaryOperator::Divide, 9, Left),
        Token::Concat => (BinaryOperator::Concat, 10, Right),
        _ => return None,
    })
}

impl Parser<'_> {
    /// Parses an expression of any kind.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error_at(self.token, "expressions are nested too deeply".to_owned()));
        }
        let expr = self.expr_function();
        self.depth -= 1;
        expr
    }

    fn expr_function(&mut self) -> Result<Expr> {
        let start = self.token.start;
        let kind = match self.token.token {
            Token::Identifier => match next_byte(self.text, self.token.end) {
                Some(b':') => {
                    let (argument, _) = self.identifier()?;
                    self.advance();
                    let body = self.expr()?;
                    ExprKind::Lambda(Box::new(Lambda {
                        argument: Some(argument),
                        formals: None,
                        body,
                    }))
                }
                Some(b'@') => {
                    let (argument, span) = self.identifier()?;
                    self.advance();
                    let formals = self.formals()?;
                    self.lambda(formals, Some((argument, span)))?
                }
                _ => return self.expr_pipe(),
            },
            Token::Char(b'{') if self.begins_formals() => {
                let formals = self.formals()?;
                let argument = if self.token.token == Token::Char(b'@') {
                    self.advance();
                    Some(self.identifier()?)
                } else {
                    None
                };
                self.lambda(formals, argument)?
            }
            Token::Assert => {
                self.advance();
                let condition = self.expr()?;
                self.expect(Token::Char(b';'), "`;`")?;
                ExprKind::Assert(Box::new(condition), Box::new(self.expr()?))
            }
            Token::With => {
                self.advance();
                let attrs = self.expr()?;
                self.expect(Token::Char(b';'), "`;`")?;
                ExprKind::With(Box::new(attrs), Box::new(self.expr()?))
            }
            Token::Let if next_byte(self.text, self.token.end) != Some(b'{') => {
                self.advance();
                let set = self.bindings(Token::In, true)?;
                self.expect(Token::In, "`in`")?;
                ExprKind::Let(Box::new(set), Box::new(self.expr()?))
            }
            Token::If => {
                self.advance();
                let condition = self.expr()?;
                self.expect(Token::Then, "`then`")?;
                let yes = self.expr()?;
                self.expect(Token::Else, "`else`")?;
                let no = self.expr()?;
                ExprKind::If(Box::new([condition, yes, no]))
            }
            _ => return self.expr_pipe(),
        };
        Ok(self.finish(kind, start))
    }

    /// Parses `a |> f` and `f <| a`, which do not mix.
    fn expr_pipe(&mut self) -> Result<Expr> {
        let start = self.token.start;
        let mut left = self.operators(0)?;
        if !matches!(self.token.token, Token::PipeInto | Token::PipeFrom) {
            return Ok(left);
        }
        if !self.options.pipe_operators {
            return Err(self.error_at(
                self.token,
                "experimental Nix feature `pipe-operators` is disabled".to_owned(),
            ));
        }
        if self.token.token == Token::PipeFrom {
            self.advance();
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(
                    self.error_at(self.token, "expressions are nested too deeply".to_owned())
                );
            }
            let argument = self.expr_pipe();
            self.depth -= 1;
            let kind = ExprKind::Call(Box::new([left, argument?]));
            let expr = self.finish(kind, start);
            return match self.token.token {
                Token::PipeInto => Err(self.unexpected("the end of the expression")),
                _ => Ok(expr),
            };
        }
        while self.token.token == Token::PipeInto {
            self.advance();
            let function = self.operators(0)?;
            left = self.finish(ExprKind::Call(Box::new([function, left])), start);
        }
        Ok(left)
    }

    /// Parses operators that bind at least as strongly as a level.
    fn operators(&mut self, least: u8) -> Result<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error_at(self.token, "expressions are nested too deeply".to_owned()));
        }
        let start = self.token.start;
        let mut left = match self.token.token {
            Token::Char(b'!') => {
                self.advance();
                let operand = self.operators(NOT_LEVEL)?;
                self.finish(ExprKind::Not(Box::new(operand)), start)
            }
            Token::Char(b'-') => {
                self.advance();
                let operand = self.operators(NEGATE_LEVEL)?;
                self.finish(ExprKind::Negate(Box::new(operand)), start)
            }
            _ => self.application()?,
        };
        // The level of the last operator that does not group with its equals.
        let mut closed = None;
        let mut chain = 0;
        loop {
            chain += 1;
            if chain > MAX_CHAIN {
                return Err(self.error_at(self.token, "too many operators in a row".to_owned()));
            }
            if self.token.token == Token::Char(b'?') {
                if HAS_ATTR_LEVEL < least {
                    break;
                }
                // What follows is no expression, so `a ? b ? c` is only ever `(a ? b) ? c`.
                self.advance();
                let path = self.attr_path()?;
                let has = HasAttr { subject: left, path };
                left = self.finish(ExprKind::HasAttr(Box::new(has)), start);
                continue;
            }
            let Some((operator, level, associativity)) = binary(self.token.token) else { break };
            if level < least {
                break;
            }
            if closed == Some(level) {
                return Err(self.unexpected("another operator (comparisons do not chain)"));
            }
            self.advance();
            let next = if associativity == Associativity::Right { level } else { level + 1 };
            let right = self.operators(next)?;
            left = self.finish(ExprKind::Binary(operator, Box::new([left, right])), start);
            closed = (associativity == Associativity::None).then_some(level);
        }
        self.depth -= 1;
        Ok(left)
    }

    /// Parses a function with its arguments.
    fn application(&mut self) -> Result<Expr> {
        let start = self.token.start;
        let function = self.selection()?;
        if !self.begins_simple() {
            return Ok(function);
        }
        let first = self.exprs.len();
        match function {
            Expr { kind: ExprKind::Call(call), .. } => self.exprs.extend(call),
            other => self.exprs.push(other),
        }
        while self.begins_simple() {
            let argument = self.selection()?;
            self.lint_or(&argument);
            self.exprs.push(argument);
        }
        let call = self.exprs.drain(first..).collect();
        Ok(self.finish(ExprKind::Call(call), start))
    }

    /// Parses a simple expression with its selections.
    fn selection(&mut self) -> Result<Expr> {
        let start = self.token.start;
        let subject = self.simple()?;
        self.ends_with_or = false;
        match self.token.token {
            Token::Char(b'.') => {
                self.advance();
                let path = self.attr_path()?;
                let default = if self.token.token == Token::Or {
                    self.advance();
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        let message = "expressions are nested too deeply".to_owned();
                        return Err(self.error_at(self.token, message));
                    }
                    let default = self.selection()?;
                    self.lint_or(&default);
                    self.depth -= 1;
                    Some(default)
                } else {
                    None
                };
                self.ends_with_or = false;
                Ok(self
                    .finish(ExprKind::Select(Box::new(Select { subject, path, default })), start))
            }
            // Old Nixpkgs has a function of this name and calls `map or […]`.
            Token::Or => {
                let span = self.token_span(self.token);
                self.advance();
                self.ends_with_or = true;
                let or = Expr { kind: ExprKind::Variable(self.symbols.intern("or")), span };
                Ok(self.finish(ExprKind::Call(Box::new([subject, or])), start))
            }
            _ => Ok(subject),
        }
    }

    /// Whether the token begins a simple expression.
    fn begins_simple(&self) -> bool {
        matches!(
            self.token.token,
            Token::Identifier
                | Token::Int
                | Token::Float
                | Token::Uri
                | Token::SearchPath
                | Token::Path
                | Token::HomePath
                | Token::Quote
                | Token::IndentedQuote
                | Token::Let
                | Token::Rec
                | Token::Char(b'(' | b'{' | b'[')
        )
    }

    fn simple(&mut self) -> Result<Expr> {
        let start = self.token.start;
        let word = &self.text[self.token.start..self.token.end];
        let kind = match self.token.token {
            Token::Identifier if word == b"__curPos" => {
                self.advance();
                ExprKind::CurrentPosition
            }
            Token::Identifier => ExprKind::Variable(self.identifier()?.0),
            Token::Int => {
                let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
                let Some(number) = number else {
                    let message = format!("invalid integer `{}`", String::from_utf8_lossy(word));
                    return Err(self.error_at(self.token, message));
                };
                self.advance();
                ExprKind::Int(number)
            }
            Token::Float => {
                let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
                let Some(number) = number.filter(|number: &f64| number.is_finite()) else {
                    let message = format!("invalid float `{}`", String::from_utf8_lossy(word));
                    return Err(self.error_at(self.token, message));
                };
                self.advance();
                ExprKind::Float(number)
            }
            Token::Uri => {
                let text = word.into();
                self.lint(Literal::Url)?;
                self.advance();
                ExprKind::Text(text)
            }
            Token::SearchPath => {
                let name = word[1..word.len() - 1].into();
                self.advance();
                ExprKind::SearchPath(name)
            }
            Token::Path | Token::HomePath => return self.path(),
            Token::Quote => self.string()?,
            Token::IndentedQuote => self.indented_string()?,
            Token::Char(b'(') => {
                self.advance();
                let expr = self.expr()?;
                self.expect(Token::Char(b')'), "`)`")?;
                return Ok(expr);
            }
            Token::Let => {
                self.advance();
                return self.legacy_let(start);
            }
            Token::Rec => {
                self.advance();
                self.braces(true)?
            }
            Token::Char(b'{') => self.braces(false)?,
            Token::Char(b'[') => {
                self.advance();
                let first = self.exprs.len();
                while self.token.token != Token::Char(b']') {
                    if !self.begins_simple() {
                        return Err(self.unexpected("an expression or `]`"));
                    }
                    let element = self.nested(Self::selection)?;
                    self.lint_or(&element);
                    self.exprs.push(element);
                }
                self.advance();
                ExprKind::List(self.exprs.drain(first..).collect())
            }
            _ => return Err(self.unexpected("an expression")),
        };
        Ok(self.finish(kind, start))
    }

    /// Parses `{ … }` after what stands before it.
    fn braces(&mut self, recursive: bool) -> Result<ExprKind> {
        self.expect(Token::Char(b'{'), "`{`")?;
        let mut set = self.nested(|parser| parser.bindings(Token::Char(b'}'), false))?;
        set.recursive = recursive;
        self.expect(Token::Char(b'}'), "`}`")?;
        Ok(ExprKind::Attrs(Box::new(set)))
    }

    /// Parses `{ … }` after `let`: the attribute `body` of a recursive set.
    fn legacy_let(&mut self, start: usize) -> Result<Expr> {
        let kind = self.braces(true)?;
        let subject = self.finish(kind, start);
        let span = subject.span;
        let path = [AttrName::Static(self.symbols.intern("body"), span)];
        let select = Select { subject, path: Box::new(path), default: None };
        Ok(Expr { kind: ExprKind::Select(Box::new(select)), span })
    }

    /// Parses one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error_at(self.token, "expressions are nested too deeply".to_owned()));
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// Whether `{` begins the pattern of a function rather than a set.
    fn begins_formals(&self) -> bool {
        let mut runs = self.runs;
        let first = lex(self.text, self.token.end, &mut runs);
        let second = lex(self.text, first.end, &mut runs);
        match first.token {
            Token::Ellipsis => true,
            Token::Char(b'}') => matches!(second.token, Token::Char(b':' | b'@')),
            Token::Identifier => matches!(second.token, Token::Char(b',' | b'?' | b'}')),
            _ => false,
        }
    }

    /// Parses `{ a, b ? c, ... }`.
    fn formals(&mut self) -> Result<Formals> {
        self.expect(Token::Char(b'{'), "`{`")?;
        let mut formals = Formals::default();
        loop {
            match self.token.token {
                Token::Char(b'}') => break,
                Token::Ellipsis => {
                    self.advance();
                    formals.ellipsis = true;
                    break;
                }
                _ => {
                    let (name, span) = self.identifier()?;
                    let default = if self.token.token == Token::Char(b'?') {
                        self.advance();
                        Some(self.expr()?)
                    } else {
                        None
                    };
                    formals.formals.push(Formal { name, span, default });
                    match self.token.token {
                        Token::Char(b',') => self.advance(),
                        Token::Char(b'}') => {}
                        _ => return Err(self.unexpected("`,` or `}`")),
                    }
                }
            }
        }
        self.expect(Token::Char(b'}'), "`}`")?;
        Ok(formals)
    }

    /// Parses `: body` of a function with a pattern.
    fn lambda(&mut self, formals: Formals, argument: Option<(Symbol, Span)>) -> Result<ExprKind> {
        self.expect(Token::Char(b':'), "`:`")?;
        let mut names: Vec<(Symbol, Span)> =
            formals.formals.iter().map(|formal| (formal.name, formal.span)).collect();
        names.extend(argument);
        names.sort_by_key(|(name, _)| *name);
        if let Some(pair) = names.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let message =
                format!("duplicate formal function argument `{}`", self.symbols.text(pair[1].0));
            return Err(Error::new(ErrorKind::Syntax { message }, pair[1].1));
        }
        let body = self.expr()?;
        Ok(ExprKind::Lambda(Box::new(Lambda {
            argument: argument.map(|(name, _)| name),
            formals: Some(formals),
            body,
        })))
    }

    /// Takes an identifier.
    fn identifier(&mut self) -> Result<(Symbol, Span)> {
        if self.token.token != Token::Identifier {
            return Err(self.unexpected("a name"));
        }
        let name = self.symbols.intern(&self.text[self.token.start..self.token.end]);
        let span = self.token_span(self.token);
        self.advance();
        Ok((name, span))
    }

    pub(super) fn advance(&mut self) {
        self.advance_to(self.token.end);
    }

    /// Goes on with the token at an offset.
    pub(super) fn advance_to(&mut self, offset: usize) {
        self.taken = offset;
        self.token = lex(self.text, offset, &mut self.runs);
    }

    pub(super) fn expect(&mut self, token: Token, what: &str) -> Result<()> {
        if self.token.token != token {
            return Err(self.unexpected(what));
        }
        self.advance();
        Ok(())
    }

    /// Makes an expression that ends before the current token.
    fn finish(&self, kind: ExprKind, start: usize) -> Expr {
        let end = self.taken.clamp(start, self.text.len());
        Expr { kind, span: self.span(start, end) }
    }

    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        Span { start: self.base + start as u32, end: self.base + end as u32 }
    }

    pub(super) fn token_span(&self, lexeme: Lexeme) -> Span {
        self.span(lexeme.start, lexeme.end)
    }

    pub(super) fn error_at(&self, lexeme: Lexeme, message: String) -> Error {
        Error::new(ErrorKind::Syntax { message }, self.token_span(lexeme))
    }

    pub(super) fn unterminated(&self, open: Lexeme, what: &str) -> Error {
        self.error_at(open, format!("this {what} does not end"))
    }

    /// Makes the error for a token that does not fit.
    pub(super) fn unexpected(&self, expected: &str) -> Error {
        let text = &self.text[self.token.start..self.token.end];
        let found = match self.token.token {
            Token::End => "end of the text".to_owned(),
            Token::Invalid => "a comment that does not end".to_owned(),
            _ => format!("`{}`", String::from_utf8_lossy(text)),
        };
        self.error_at(self.token, format!("syntax error: unexpected {found}, expected {expected}"))
    }
}
