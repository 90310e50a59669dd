# Finds the jobs of a locked flake. Applied by nix.rs to plain data; its value is printed as JSON.
#
# `query` says what is asked:
#   { kind = "walk"; paths; }     the jobs at and below these attribute paths; what `throw` and
#                                 `assert` stop is marked and does not end the evaluation
#   { kind = "ask"; paths; }      the same, but every error ends the evaluation, with its message
#   { kind = "describe"; path; }  what stands at one path, without looking inside
#   { kind = "declaration"; }     the flake output `levainProject`
# `only` limits the jobs of `checks` and `packages` to one system; `narHash` is null or what the
# tree must have.
{ url, narHash, system, maxDepth, query }:
let
  inherit (builtins)
    attrNames concatMap deepSeq elem filter foldl' isAttrs isString length listToAttrs map toJSON
    tryEval typeOf;

  flake = builtins.getFlake url;
  # Not `flake.narHash`, and `flake.outputs.x` below, not `flake.x`: names cannot collide here.
  tree = flake.sourceInfo;
  plain = builtins.unsafeDiscardStringContext;

  # The value in a set of its own, or null where it cannot be had.
  attempt =
    if query.kind == "walk" then
      value: let result = tryEval value; in if result.success then { inherit (result) value; } else null
    else
      value: builtins.seq value { inherit value; };

  output =
    if flake.outputs ? levainJobs then "levainJobs"
    else if flake.outputs ? hydraJobs then "hydraJobs"
    else "checksAndPackages";

  # The set whose attribute paths name the jobs.
  root =
    if output != "checksAndPackages" then
      flake.outputs.${output}
    else
      let
        ofSystem = systems:
          if isAttrs systems then
            builtins.intersectAttrs { ${system} = null; } systems
          else
            systems;
        present = filter (name: flake.outputs ? ${name}) [ "checks" "packages" ];
      in
      listToAttrs (map (name: { inherit name; value = ofSystem flake.outputs.${name}; }) present);

  # Above this depth an attribute set is walked into without asking for it.
  freeDepth = if output == "checksAndPackages" then 3 else maxDepth;

  isDerivation = value: isAttrs value && (value.type or null) == "derivation";

  # What a value at a path is to us. Looks at the value and at nothing inside it.
  kindOf = path: value:
    let
      depth = length path;
      recurse = value.recurseForDerivations or null;
    in
    if isDerivation value then "derivation"
    else if !isAttrs value then typeOf value
    else if depth > 0 && recurse == false then "skipped"
    else if depth >= freeDepth && recurse != true && depth < maxDepth then "set"
    else if depth >= maxDepth then "tooDeep"
    else "walked";

  childNames = value: filter (name: name != "recurseForDerivations") (attrNames value);

  job = derivation:
    let
      # Only shown: an error in it is no reason to have no job.
      description = (tryEval (derivation.meta.description or null)).value;
    in
    {
      # `plain` also refuses what is no text, so that a broken job is an error of its own.
      name = plain derivation.name;
      system = plain derivation.system;
      drvPath = plain derivation.drvPath;
      outputs = listToAttrs (
        map (name: { inherit name; value = plain derivation.${name}.outPath; })
          (derivation.outputs or [ "out" ])
      );
      # As text, so that what has no JSON fails here and not while the answer is printed.
      levain = plain (toJSON (derivation.levain or derivation.passthru.levain or { }));
      description = if isString description then plain description else null;
    };

  walk = path: value:
    let
      kind = attempt (kindOf path value);
      found = attempt (let all = job value; in deepSeq all all);
    in
    if kind == null then [ { inherit path; kind = "thrown"; } ]
    else if kind.value == "walked" then
      concatMap (name: walk (path ++ [ name ]) value.${name}) (childNames value)
    else if kind.value == "derivation" then
      [ (if found == null then { inherit path; kind = "thrown"; }
         else { inherit path; kind = "job"; job = found.value; }) ]
    else if kind.value == "skipped" then [ ]
    else [ { inherit path; kind = kind.value; } ];

  # Goes from the root to a path by the same rules as `walk`; null where `walk` never comes.
  find = foldl'
    (at: name:
      if at != null && kindOf at.path at.value == "walked" && elem name (childNames at.value) then
        { path = at.path ++ [ name ]; value = at.value.${name}; }
      else
        null)
    { path = [ ]; value = root; };

  walkFrom = path:
    let
      at = attempt (find path);
    in
    if at == null then [ { inherit path; kind = "thrown"; } ]
    else if at.value == null then [ { inherit path; kind = "missing"; } ]
    else walk path at.value.value;

  describe = path:
    let
      at = find path;
      kind = kindOf path at.value;
    in
    if at == null then { kind = "missing"; }
    else { inherit kind; children = if kind == "walked" then childNames at.value else [ ]; };

  answer =
    if narHash != null && narHash != tree.narHash then
      { kind = "narHashMismatch"; found = tree.narHash; }
    else if query.kind == "declaration" then
      {
        kind = "declaration";
        present = flake.outputs ? levainProject;
        value = flake.outputs.levainProject or null;
      }
    else if !isAttrs root || isDerivation root then
      {
        kind = "notAnAttributeSet";
        inherit output;
        found = if isAttrs root then "derivation" else typeOf root;
      }
    else
      {
        kind = "answer";
        inherit output;
        inherit (tree) narHash;
        source = plain tree.outPath;
      }
      // (
        if query.kind == "describe" then { description = describe query.path; }
        else { found = concatMap walkFrom query.paths; }
      );
in
answer
