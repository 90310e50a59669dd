//! Files: reading them, copying them into the store, finding them.
//!
//! Everything goes through [`Io`](crate::lang::io::Io).

use std::rc::Rc;

use levain_store::{Digest, HashAlgorithm};

use super::strings::{PLAIN, base_name};
use super::{Builtin, Scope, argument, outside, store_path};
use crate::lang::error::{Error, ErrorKind, Result, ResultExt};
use crate::lang::eval::Evaluator;
use crate::lang::io::{AddError, AddPath, FileType, FilterError, Ingestion, IoError};
use crate::lang::source::Span;
use crate::lang::value::{AttrsBuilder, Context, ContextElement, NixPath, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "filterSource",
        arity: 2,
        parameters: &["predicate", "path"],
        scope: Scope::Prefixed,
        run: filter_source,
        about: "Copies those files of a tree into the store for which a predicate holds.",
    },
    Builtin {
        name: "findFile",
        arity: 2,
        parameters: &["search-path", "name"],
        scope: Scope::Prefixed,
        run: find_file_builtin,
        about: "Looks for a file in a search path.",
    },
    Builtin {
        name: "getEnv",
        arity: 1,
        parameters: &["name"],
        scope: Scope::Prefixed,
        run: get_env,
        about: "Returns a variable of the environment, or an empty string.",
    },
    Builtin {
        name: "path",
        arity: 1,
        parameters: &["set"],
        scope: Scope::Prefixed,
        run: path,
        about: "Copies a tree into the store, with a name, filter and hash of its own.",
    },
    Builtin {
        name: "pathExists",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Prefixed,
        run: path_exists,
        about: "Returns whether a file exists.",
    },
    Builtin {
        name: "readDir",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Prefixed,
        run: read_dir,
        about: "Returns the names in a directory and their types.",
    },
    Builtin {
        name: "readFile",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Prefixed,
        run: read_file,
        about: "Returns the content of a file.",
    },
    Builtin {
        name: "readFileType",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Prefixed,
        run: read_file_type,
        about: "Returns the type of a file.",
    },
    Builtin {
        name: "storePath",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Prefixed,
        run: store_path_builtin,
        about: "Makes a string that depends on a store object of its path.",
    },
    Builtin {
        name: "toFile",
        arity: 2,
        parameters: &["name", "content"],
        scope: Scope::Prefixed,
        run: to_file,
        about: "Writes a text into the store.",
    },
    Builtin {
        name: "toPath",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Prefixed,
        run: to_path,
        about: "Returns an absolute path as a string.",
    },
];

/// Where the files of `<nix/…>` are said to be.
const INTERNAL: &[u8] = b"/__corepkgs__";

/// Returns the text of a file that comes with the evaluator, if a path is one.
pub(super) fn internal_file(path: &NixPath) -> Option<(&'static str, &'static str)> {
    match path.bytes().strip_prefix(INTERNAL)? {
        b"/fetchurl.nix" => Some(("fetchurl.nix", include_str!("fetchurl.nix"))),
        b"/derivation.nix" => Some(("derivation.nix", super::derivation::DERIVATION)),
        _ => None,
    }
}

/// Returns the path that a value is, after making sure that what it depends on is there.
fn realised(ev: &mut Evaluator, value: &Value, at: Span) -> Result<NixPath> {
    let (path, context) = ev.force_path(value, at)?;
    ev.realise_context(&context, at)?;
    Ok(path)
}

fn read_file(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let path = realised(ev, &args[0], at)?;
    let content = match internal_file(&path) {
        Some((_, text)) => text.as_bytes().to_vec(),
        None => ev.io.read_file(&path).map_err(|error| outside(error, at))?,
    };
    if content.contains(&0) {
        let message = format!(
            "the contents of the file `{}` cannot be represented as a Nix string",
            path.text()
        );
        return Err(argument(at, message));
    }
    let context = references(ev, &path, &content, at)?;
    Ok(Value::string_with_context(content, context))
}

/// Returns what a file in the store depends on: those references of its store object that are in it.
fn references(ev: &Evaluator, path: &NixPath, content: &[u8], at: Span) -> Result<Context> {
    let Some(object) = store_path::containing(ev, &path.text()) else {
        return Ok(Context::new());
    };
    let references = ev.io.references(&object).map_err(|error| outside(error, at))?;
    let is_in = |reference: &Rc<str>| {
        let hash = store_path::parse(ev, reference).map(|path| path.hash_part().to_owned());
        hash.is_some_and(|hash| content.windows(hash.len()).any(|window| window == hash.as_bytes()))
    };
    Ok(references.into_iter().filter(is_in).map(ContextElement::Path).collect())
}

fn read_dir(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let path = realised(ev, &args[0], at)?;
    let entries = ev.io.read_directory(&path).map_err(|error| outside(error, at))?;
    let mut attrs = AttrsBuilder::with_capacity(entries.len());
    for (name, kind) in entries {
        attrs.push(ev.symbols.intern(name), Value::string(kind.as_str()));
    }
    Ok(Value::attrs(attrs.finish()))
}

fn read_file_type(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let path = realised(ev, &args[0], at)?;
    let kind = ev.io.file_type(&path).map_err(|error| outside(error, at))?;
    let missing = || outside(IoError::NotFound { path: path.text().into_owned() }, at);
    Ok(Value::string(kind.ok_or_else(missing)?.as_str()))
}

fn path_exists(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let value = ev.force(&args[0], at)?;
    // A slash at the end of a string asks for a directory; paths have none.
    let directory = if let Value::String(text) = &value {
        text.bytes().ends_with(b"/") || text.bytes().ends_with(b"/.")
    } else {
        false
    };
    let path = realised(ev, &value, at)?;
    Ok(Value::Bool(exists(ev, &path, directory, at)?))
}

/// Returns whether a file exists; what may not be looked at does not.
fn exists(ev: &mut Evaluator, path: &NixPath, directory: bool, at: Span) -> Result<bool> {
    if internal_file(path).is_some() {
        return Ok(!directory);
    }
    match ev.io.file_type(path) {
        Ok(None) | Err(IoError::NotFound { .. } | IoError::Forbidden { .. }) => Ok(false),
        Ok(Some(_)) if !directory => Ok(true),
        Ok(Some(FileType::Directory)) => Ok(true),
        Ok(Some(FileType::Symlink)) => Ok(ev.io.read_directory(path).is_ok()),
        Ok(Some(FileType::Regular | FileType::Unknown)) => Ok(false),
        Err(error @ (IoError::Unavailable { .. } | IoError::Failed { .. })) => {
            Err(outside(error, at))
        }
    }
}

fn get_env(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let name = ev.force_plain_string(&args[0], at)?;
    if ev.options.pure {
        return Ok(Value::string(""));
    }
    Ok(Value::string(ev.io.variable(&name.text()).unwrap_or_default()))
}

fn to_path(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let (path, context) = ev.force_path(&args[0], at)?;
    Ok(Value::string_with_context(path.bytes(), context))
}

fn store_path_builtin(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    if ev.options.pure {
        return Err(Error::new(ErrorKind::Impure { what: "`builtins.storePath`".into() }, at));
    }
    let (mut path, mut context) = ev.force_path(&args[0], at)?;
    // A store object may itself be a link; what leads into the store from elsewhere is followed.
    if store_path::parse(ev, &path.text()).is_none() {
        path = ev.follow_links(&path, at)?;
    }
    let text = path.text().into_owned();
    let Some(object) = store_path::containing(ev, &text) else {
        return Err(argument(at, format!("path `{text}` is not in the Nix store")));
    };
    if !ev.io.is_valid_path(&object).map_err(|error| outside(error, at))? {
        return Err(argument(at, format!("path `{object}` is not valid")));
    }
    context.insert(ContextElement::Path(object.into()));
    Ok(Value::string_with_context(text, context))
}

fn to_file(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let name = ev.force_plain_string(&args[0], at)?.text().into_owned();
    let content = ev.force_string(&args[1], at)?;
    let mut objects = std::collections::BTreeSet::new();
    let mut references = Vec::new();
    for element in content.context().into_iter().flat_map(Context::iter) {
        let ContextElement::Path(path) = element else {
            let message = format!(
                "files created by `builtins.toFile` may not reference derivations, but `{name}` does"
            );
            return Err(argument(at, message));
        };
        let wrong = || argument(at, format!("`{path}` is not a store path"));
        objects.insert(store_path::parse(ev, path).ok_or_else(wrong)?);
        references.push(Rc::clone(path));
    }
    let dir = store_path::dir(ev);
    let path =
        levain_store::content_address::make_text_path(&dir, &name, content.bytes(), &objects);
    let path = path.map_err(|error| argument(at, error.to_string()))?;
    let path: Rc<str> = dir.display(&path).into();
    ev.io.add_text(&path, content.bytes(), &references).map_err(|error| outside(error, at))?;
    ev.state.texts.insert(Rc::clone(&path), references);
    Ok(depending_on(path))
}

/// Returns a store path as a string that depends on it.
pub(super) fn depending_on(path: Rc<str>) -> Value {
    let text = Rc::clone(&path);
    let context = [ContextElement::Path(path)].into_iter().collect();
    Value::string_with_context(text.as_bytes(), context)
}

/// A tree to be copied into the store, as users describe it.
struct Tree {
    path: NixPath,
    name: String,
    filter: Option<Value>,
    ingestion: Ingestion,
    expected: Option<[u8; 32]>,
}

fn path(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let attrs = ev.force_attrs(&args[0], at)?;
    let (mut path, mut name, mut filter, mut expected) = (None, None, None, None);
    let mut ingestion = Ingestion::Recursive;
    for attr in attrs.iter() {
        let attribute = ev.symbols.text(attr.name);
        let place = if attr.span().is_some() { attr.span() } else { at };
        let within =
            || format!("while evaluating the attribute `{attribute}` passed to `builtins.path`");
        match attribute.as_str() {
            "path" => path = Some(realised(ev, &attr.value, place).context(place, within)?),
            "name" => {
                let text = ev.force_plain_string(&attr.value, place).context(place, within)?;
                name = Some(text.text().into_owned());
            }
            "filter" => {
                filter = Some(ev.force_function(&attr.value, place).context(place, within)?)
            }
            "recursive" => {
                if !ev.force_bool(&attr.value, place).context(place, within)? {
                    ingestion = Ingestion::Flat;
                }
            }
            "sha256" => {
                let text = ev.force_plain_string(&attr.value, place).context(place, within)?;
                let digest = match &*text.text() {
                    "" => Ok(Digest::zero(HashAlgorithm::Sha256)),
                    text => Digest::parse(text, Some(HashAlgorithm::Sha256)),
                };
                let digest = digest.map_err(|error| argument(place, error.to_string()))?;
                expected = digest.as_bytes().try_into().ok();
            }
            _ => {
                let message = format!("unsupported argument `{attribute}` to `builtins.path`");
                return Err(argument(place, message));
            }
        }
    }
    let Some(path) = path else {
        let message = "missing required `path` attribute in the first argument to `builtins.path`";
        return Err(argument(at, message));
    };
    let name = name.unwrap_or_else(|| file_name(&path));
    copy(ev, &Tree { path, name, filter, ingestion, expected }, at)
}

fn file_name(path: &NixPath) -> String {
    String::from_utf8_lossy(base_name(path.bytes())).into_owned()
}

fn filter_source(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let path = realised(ev, &args[1], at)?;
    let filter = Some(ev.force_function(&args[0], at)?);
    let name = file_name(&path);
    copy(ev, &Tree { path, name, filter, ingestion: Ingestion::Recursive, expected: None }, at)
}

fn copy(ev: &mut Evaluator, tree: &Tree, at: Span) -> Result<Value> {
    let io = Rc::clone(&ev.io);
    let mut failure = None;
    let mut take = |path: &NixPath, kind: FileType| {
        let Some(filter) = &tree.filter else { return Ok(true) };
        let args = [Value::string(path.bytes()), Value::string(kind.as_str())];
        let taken = ev.call(filter, &args, at).and_then(|taken| ev.force_bool(&taken, at));
        taken.map_err(|error| {
            failure = Some(error);
            FilterError
        })
    };
    let added = io.add_path(AddPath {
        name: &tree.name,
        path: &tree.path,
        ingestion: tree.ingestion,
        expected: tree.expected,
        filter: tree.filter.is_some().then_some(&mut take),
    });
    match added {
        Ok(path) => Ok(depending_on(path)),
        Err(AddError::Io(error)) => Err(outside(error, at)),
        Err(AddError::Filter) => Err(failure
            .unwrap_or_else(|| argument(at, "the filter failed"))
            .context(format!("while filtering `{}`", tree.path.text()), at)),
        Err(AddError::HashMismatch { found }) => {
            let found = levain_store::NarHash::from_bytes(found);
            let path = tree.path.text();
            Err(argument(at, format!("`{path}` has another hash than expected: it is `{found}`")))
        }
    }
}

fn find_file_builtin(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let list = ev.force_list(&args[0], at)?;
    let mut entries = Vec::with_capacity(list.len());
    for entry in list.iter() {
        let entry = ev.force_attrs(entry, at)?;
        let prefix = match ev.symbols.find("prefix").and_then(|name| entry.value(name)) {
            Some(prefix) => ev.force_plain_string(prefix, at)?.bytes().to_vec(),
            None => Vec::new(),
        };
        let path = ev.required(&entry, "path", at)?;
        let mut context = Context::new();
        let path = ev.coerce_to_string(&path, at, PLAIN, &mut context)?;
        ev.realise_context(&context, at)?;
        entries.push((prefix, path.bytes().to_vec()));
    }
    let name = ev.force_plain_string(&args[1], at)?;
    find_file(ev, &entries, name.bytes(), at)
}

/// Looks for `<name>` in a search path of prefixes and directories.
fn find_file(
    ev: &mut Evaluator,
    entries: &[(Vec<u8>, Vec<u8>)],
    name: &[u8],
    at: Span,
) -> Result<Value> {
    for (prefix, dir) in entries {
        let below = match name.strip_prefix(prefix.as_slice()) {
            Some(below) if prefix.is_empty() || below.is_empty() => below,
            Some(below) => match below.strip_prefix(b"/") {
                Some(below) => below,
                None => continue,
            },
            None => continue,
        };
        // Only what is on this machine can be found; the rest of a search path is not for us.
        if !dir.starts_with(b"/") {
            continue;
        }
        let path = NixPath::canonical(dir).join(below);
        if exists(ev, &path, false, at)? {
            return Ok(Value::path(path.bytes()));
        }
    }
    if let Some(file) = name.strip_prefix(b"nix/") {
        let path = NixPath::new(INTERNAL).join(file);
        if internal_file(&path).is_some() {
            return Ok(Value::path(path.bytes()));
        }
    }
    let name = String::from_utf8_lossy(name).into_owned();
    Err(Error::new(ErrorKind::SearchPath { name }, at))
}
