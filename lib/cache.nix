/**
  Returns the cache that a job may start from, or null when it is to be built clean.

  The path carries its string context: a derivation that uses it has it as an input, in pure
  evaluation too. In your own branches the file says `null`, so a plain `nix build` is clean.

  Pass it on as a variable of its own. A derivation that differs in anything else when it is given a
  cache is built without one: see "Without the library" in `docs/incremental-jobs.md`.

  # Inputs

  `file`
  : The cache pointer file, `./cache.nix`. A file that is not there counts as `null`.

  `job`
  : The job's attribute path, as `levain eval` prints it.

  # Type

  ```
  cache :: Path -> String -> (String | Null)
  ```

  # Example

  ```nix
  derivation {
    name = "server";
    cache = levain.lib.cache ./cache.nix "x86_64-linux.server";
    …
  }
  ```
*/
file: job:
let
  inherit (builtins) appendContext baseNameOf dirOf isAttrs isString match pathExists storeDir;
  inherit (import ./internalTypes.nix) kindOf;

  pointer = if pathExists file then import file else null;

  fail = message: throw "levain.lib.cache: `${baseNameOf file}`, job `${job}`: ${message}";

  isStorePath = path:
    dirOf path == storeDir
    && match "[0-9a-df-np-sv-z]{32}-[0-9a-zA-Z+._?=-]+" (baseNameOf path) != null;

  input = path:
    if !isString path then
      fail "expected `path` to be a string, found ${kindOf path}"
    else if !isStorePath path then
      fail "expected `path` to be a store path, found `${path}`"
    else
      appendContext path { ${path} = { path = true; }; };

  ofEntry = entry:
    if !isAttrs entry then
      fail "expected an attribute set, found ${kindOf entry}"
    else if entry ? unused then
      null
    else if !(entry ? path) then
      fail "attribute `path` is missing"
    else
      input entry.path;
in
if pointer == null then
  null
else if isString pointer then
  input pointer
else if !isAttrs pointer then
  fail "expected null, a store path or an attribute set of entries, found ${kindOf pointer}"
else if pointer ? ${job} then
  ofEntry pointer.${job}
else
  null
