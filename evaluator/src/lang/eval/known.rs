//! Names that the evaluator itself looks for, interned once.

use crate::lang::symbol::{Symbol, Symbols};

macro_rules! known {
    ($($field:ident = $name:literal),* $(,)?) => {
        /// Names that the evaluator itself looks for.
        #[derive(Debug, Clone, Copy)]
        #[expect(missing_docs, reason = "the fields are called as the names are")]
        pub struct KnownSymbols {
            $(pub $field: Symbol,)*
        }

        impl KnownSymbols {
            pub(super) fn new(symbols: &mut Symbols) -> Self {
                KnownSymbols { $($field: symbols.intern($name),)* }
            }
        }
    };
}

// The first of these are looked for most often, and stand first in every set that has them.
known! {
    type_ = "type",
    out_path = "outPath",
    functor = "__functor",
    to_string = "__toString",
    all_outputs = "allOutputs",
    args = "args",
    builder = "builder",
    builtins = "builtins",
    column = "column",
    context = "__context",
    drv_attrs = "drvAttrs",
    drv_path = "drvPath",
    end_set = "endSet",
    file = "file",
    ignore_nulls = "__ignoreNulls",
    key = "key",
    left = "left",
    line = "line",
    name = "name",
    operator = "operator",
    output_hash = "outputHash",
    output_hash_algo = "outputHashAlgo",
    output_hash_mode = "outputHashMode",
    output_name = "outputName",
    outputs = "outputs",
    overrides = "__overrides",
    path = "path",
    prefix = "prefix",
    recurse_for_derivations = "recurseForDerivations",
    right = "right",
    start_set = "startSet",
    structured_attrs = "__structuredAttrs",
    success = "success",
    system = "system",
    value = "value",
    version = "version",
    wrong = "wrong",
}
