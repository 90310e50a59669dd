//! Files: each is read, parsed and evaluated once.

use std::rc::Rc;

use super::Evaluator;
use super::env::Env;
use crate::lang::error::{Error, Result};
use crate::lang::io::FileType;
use crate::lang::source::{Origin, Span};
use crate::lang::symbol::Symbol;
use crate::lang::value::{Attrs, NixPath, Value};

/// More symbolic links in a row than these form a circle.
const MAX_LINKS: usize = 1024;

impl Evaluator {
    /// Evaluates a file; for a directory, its `default.nix`.
    pub fn import(&mut self, path: &NixPath, at: Span) -> Result<Value> {
        if let Some(value) = self.files.get(path) {
            return Ok(value.clone());
        }
        let file = self.expression_file(path, at)?;
        if let Some(value) = self.files.get(&file).cloned() {
            self.files.insert(path.clone(), value.clone());
            return Ok(value);
        }
        let value = self.evaluate_file_at(&file, at, None)?;
        self.files.insert(file, value.clone());
        self.files.insert(path.clone(), value.clone());
        Ok(value)
    }

    /// Evaluates a file that nobody has imported.
    pub fn evaluate_file(&mut self, path: &NixPath) -> Result<Value> {
        self.import(path, Span::NONE)
    }

    /// Evaluates a file in which the names of a set are variables.
    pub fn import_scoped(&mut self, path: &NixPath, scope: &Rc<Attrs>, at: Span) -> Result<Value> {
        let file = self.expression_file(path, at)?;
        let names: Vec<Symbol> = scope.entries().iter().map(|attr| attr.name).collect();
        let env = Rc::new(Env::many(None, names.len()));
        for (slot, attr) in scope.entries().iter().enumerate() {
            env.set(slot, attr.value.clone());
        }
        self.evaluate_file_at(&file, at, Some((names, env)))
    }

    fn evaluate_file_at(
        &mut self,
        file: &NixPath,
        at: Span,
        scope: Option<(Vec<Symbol>, Rc<Env>)>,
    ) -> Result<Value> {
        let text = self.io.read_file(file).map_err(|error| Error::new(error.into(), at))?;
        let directory = file.parent().bytes().to_vec();
        let origin = Origin::File(file.bytes().into());
        self.evaluate_source(origin, text.into(), directory, scope).map_err(|error| {
            error.context(format!("while evaluating the file `{}`", file.text()), at)
        })
    }

    /// Follows symbolic links, and finds the file of a directory.
    fn expression_file(&mut self, path: &NixPath, at: Span) -> Result<NixPath> {
        let mut path = path.clone();
        for _ in 0..MAX_LINKS {
            let kind = self.io.file_type(&path).map_err(|error| Error::new(error.into(), at))?;
            match kind {
                Some(FileType::Symlink) => {
                    let target =
                        self.io.read_link(&path).map_err(|error| Error::new(error.into(), at))?;
                    path = if target.starts_with(b"/") {
                        NixPath::canonical(&target)
                    } else {
                        path.parent().join(&target)
                    };
                }
                Some(FileType::Directory) => return Ok(path.join(b"default.nix")),
                // Reading it says what is wrong.
                Some(FileType::Regular | FileType::Unknown) | None => return Ok(path),
            }
        }
        let path = path.text().into_owned();
        let message = "too many symbolic links".to_owned();
        Err(Error::new(crate::lang::io::IoError::Failed { path, message }.into(), at))
    }
}
