# What a value at an attribute path is to us: a job, a set to walk into, or neither.
#
# `hasOne` says that attribute paths begin inside one output, not with the names of outputs.
{ hasOne, maxDepth, text }:
let
  inherit (builtins)
    attrNames elem filter fromJSON groupBy head isAttrs length replaceStrings typeOf;

  childNames = value: filter (name: name != "recurseForDerivations") (attrNames value);

  # The names of the attributes, by how they are shown.
  byShown = value: groupBy text (childNames value);

  # Whether several names are shown like this. Only those can be that have what `text` puts in.
  isShared = byShown: shown:
    replaceStrings [ (fromJSON "\"\\ufffd\"") ] [ "" ] shown != shown && length byShown.${shown} > 1;

  isDerivation = value: isAttrs value && (value.type or null) == "derivation";

  # Above this depth an attribute set is walked into without asking for it.
  freeDepth = path:
    if hasOne || elem (head path) [ "levainJobs" "hydraJobs" ] then maxDepth else 3;

  # Whether a set has things beside its jobs, by its own word: `recurseForDerivations = true` is how
  # nixpkgs marks its sets, which have functions and more sets beside derivations.
  isScope = path: value:
    path != [ ]
    && ((value.recurseForDerivations or null) == true
      || !hasOne && length path == 2 && head path == "legacyPackages");

  # What a value at a path is to us. Looks at the value and at nothing inside it.
  kindOf = inScope: path: value:
    let
      depth = length path;
      recurse = value.recurseForDerivations or null;
      isSet = isAttrs value && !(value ? __functor);
    in
    if isDerivation value then "derivation"
    else if inScope && !(isSet && recurse == true) then "skipped"
    else if !isSet then (if isAttrs value then "lambda" else typeOf value)
    else if depth > 0 && recurse == false then "skipped"
    else if depth >= maxDepth then "tooDeep"
    else if depth > 0 && depth >= freeDepth path && recurse != true then "set"
    else "walked";
in
{ inherit byShown childNames isDerivation isScope isShared kindOf; }
