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
        let names: Vec<Symbol> = scope.iter().map(|attr| attr.name).collect();
        let env = Rc::new(Env::many(None, names.len()));
        for (slot, attr) in scope.iter().enumerate() {
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
        Err(too_many_links(&path, at))
    }

    /// Returns a path without symbolic links: each part of it is followed.
    pub fn follow_links(&mut self, path: &NixPath, at: Span) -> Result<NixPath> {
        let wrong = |error| Error::new(crate::lang::error::ErrorKind::Io(error), at);
        let mut links = 0;
        let mut done = NixPath::new(b"/");
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect()
        };
        let mut waiting = parts(path.bytes());
        while let Some(part) = waiting.pop() {
            let next = done.join(&part);
            match self.io.file_type(&next).map_err(wrong)? {
                Some(FileType::Symlink) if links < MAX_LINKS => {
                    links += 1;
                    let target = self.io.read_link(&next).map_err(wrong)?;
                    if target.starts_with(b"/") {
                        done = NixPath::new(b"/");
                    }
                    waiting.extend(parts(&target));
                }
                Some(FileType::Symlink) => return Err(too_many_links(path, at)),
                Some(FileType::Regular | FileType::Directory | FileType::Unknown) | None => {
                    done = next;
                }
            }
        }
        Ok(done)
    }
}

fn too_many_links(path: &NixPath, at: Span) -> Error {
    let message = "too many symbolic links".to_owned();
    let path = path.text().into_owned();
    Error::new(crate::lang::io::IoError::Failed { path, message }.into(), at)
}
