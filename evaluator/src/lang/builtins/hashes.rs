//! Hashes of texts and files, and their spellings.

use levain_store::{Digest, DigestError, HashAlgorithm, HashFormat};

use super::{Builtin, Scope, argument, outside};
use crate::lang::error::{Result, ResultExt, Warning};
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::value::Value;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "convertHash",
        arity: 1,
        parameters: &["set"],
        scope: Scope::Prefixed,
        run: convert_hash,
        about: "Writes a hash in another format.",
    },
    Builtin {
        name: "hashFile",
        arity: 2,
        parameters: &["algorithm", "path"],
        scope: Scope::Prefixed,
        run: hash_file,
        about: "Returns the hash of a file, in base 16.",
    },
    Builtin {
        name: "hashString",
        arity: 2,
        parameters: &["algorithm", "string"],
        scope: Scope::Prefixed,
        run: hash_string,
        about: "Returns the hash of a string, in base 16.",
    },
];

fn algorithm(ev: &mut Evaluator, value: &Value, at: Span) -> Result<HashAlgorithm> {
    let name = ev.force_plain_string(value, at)?;
    name.text().parse().map_err(|error: DigestError| argument(at, error.to_string()))
}

fn base16(algorithm: HashAlgorithm, bytes: &[u8]) -> Value {
    Value::string(Digest::of(algorithm, bytes).encode(HashFormat::Base16))
}

fn hash_string(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let algorithm = algorithm(ev, &args[0], at)?;
    let text = ev.force_string(&args[1], at)?;
    Ok(base16(algorithm, text.bytes()))
}

fn hash_file(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let algorithm = algorithm(ev, &args[0], at)?;
    let (path, context) = ev.force_path(&args[1], at)?;
    ev.realise_context(&context, at)?;
    let content = ev.io.read_file(&path).map_err(|error| outside(error, at))?;
    Ok(base16(algorithm, &content))
}

fn convert_hash(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let set = ev.force_attrs(&args[0], at)?;
    let hash = ev.required(&set, "hash", at)?;
    let hash = ev.force_plain_string(&hash, at);
    let hash = hash.context(at, || "while evaluating the attribute `hash`".into())?;
    let named = ev.symbols.find("hashAlgo").and_then(|name| set.value(name)).cloned();
    let named = match named {
        Some(value) => Some(algorithm(ev, &value, at)?),
        None => None,
    };
    let format = ev.required(&set, "toHashFormat", at)?;
    let format = ev.force_plain_string(&format, at);
    let format = format.context(at, || "while evaluating the attribute `toHashFormat`".into())?;
    let wrong = |error: DigestError| argument(at, error.to_string());
    if format.bytes() == b"base32" {
        let message = "`base32` is an old name of the hash format `nix32`".to_owned();
        ev.notice(&Warning { message, advice: None, span: at });
    }
    let format: HashFormat = format.text().parse().map_err(wrong)?;
    let digest = Digest::parse(&hash.text(), named).map_err(wrong)?;
    Ok(Value::string(digest.encode(format)))
}
