# Finds the jobs of a locked flake. Applied by nix.rs to text.nix, outputs.nix, kinds.nix, what is looked
# at, and a query; the value is printed as JSON. Comments have lines of their own here: see `one_line`.
#
# `query` says what is asked:
#   { kind = "walk"; paths; without; }  the jobs at and below these attribute paths; what `throw` and
#                                       `assert` stop is marked and does not end the evaluation
#   { kind = "ask"; paths; without; }   the same, but every error ends the evaluation, with its message
#   { kind = "describe"; path; }        what stands at one path, without looking inside
#   { kind = "declaration"; }           the flake output `levainProject`
# `without` has paths: of `jobs` that are not looked at, and of jobs whose `description` or `levain` is
# not. `outputs` has names of flake outputs, or is null; see outputs.nix. `narHash` is null or what the tree must have.
text:
outputsOf:
kindsOf:
{ url, narHash, system, maxDepth, maxPlaces, outputs }:
let
  inherit (builtins)
    any attrValues concatMap concatStringsSep deepSeq elem foldl' head isAttrs isString length
    listToAttrs map mapAttrs stringLength toJSON tryEval typeOf;

  flake = builtins.getFlake url;
  # Not `flake.narHash`, and `flake.outputs.x` below, not `flake.x`: names cannot collide here.
  tree = flake.sourceInfo;
  plain = builtins.unsafeDiscardStringContext;

  inherit (outputsOf { inherit (flake) outputs; inherit system; declared = outputs; })
    output root hasOne;

  inherit (kindsOf { inherit hasOne maxDepth text; })
    byShown childNames isDerivation isScope isShared kindOf;

  # Paths as attributes: quick to find, and no two paths have the same.
  keyOf = path: concatStringsSep "" (map (name: "${toString (stringLength name)}:${name}") path);
  setOf = paths: listToAttrs (map (path: { name = keyOf path; value = null; }) paths);
in
query:
let
  without = mapAttrs (what: setOf) (query.without or { });
  isWithout = what: path:
    without ? ${what} && without.${what} != { } && without.${what} ? ${keyOf path};

  # The value in a set of its own, or null where it cannot be had.
  attempt =
    if query.kind == "walk" then
      value: let result = tryEval value; in if result.success then { inherit (result) value; } else null
    else
      value: builtins.seq value { inherit value; };

  job = path: derivation:
    let
      # Only shown: an error in it is no reason to have no job.
      description =
        if isWithout "description" path then null
        else (tryEval (derivation.meta.description or null)).value;
      levain =
        if isWithout "levain" path then { }
        else derivation.levain or derivation.passthru.levain or { };
    in
    {
      # Which derivation it is, and nothing about it: name, system and outputs are read in its file.
      # `plain` also refuses what is no text, so that a broken job is an error of its own.
      drvPath = text (plain derivation.drvPath);
      # As text, so that what has no JSON fails here and not while the answer is printed.
      levain = plain (toJSON levain);
      description = if isString description then text (plain description) else null;
      # What Hydra calls an aggregate names its constituents, or has their derivations.
      constituents =
        if (derivation._hydraAggregate or false) == true then
          map (job: text (plain (if isString job then job else job.drvPath))) derivation.constituents
        else
          [ ];
    };

  # What an attribute of the value at a path is. None of those that are shown alike is a job, because
  # nobody could tell which of them failed.
  childAt = above: path: value: shownAs: name:
    let shown = text name; in
    if isShared shownAs shown
    then {
      path = path ++ [ shown ];
      kind = { value = "sameName"; };
      value = null; found = null; children = [ ]; repeats = false;
    }
    else placeAt above (isScope path value) (path ++ [ shown ]) value.${name};

  # A value at a path. `above` has the contents of the sets around it.
  placeAt = above: inScope: path: value:
    let
      kind = if isWithout "jobs" path then { value = "left"; } else attempt (kindOf inScope path value);
      found = attempt (let all = job path value; in deepSeq all all);
      children = map (childAt (above ++ [ contents ]) path value (byShown value)) (childNames value);
      isJob = child: child.kind != null && child.kind.value == "derivation" && child.found != null;
      contents = {
        names = childNames value;
        places = map
          (child:
            if isJob child then child.found.value.drvPath
            else if child.kind == null then null
            else child.kind.value)
          children;
      };
      # A set that stands in itself has what is in itself.
      repeats =
        any (other: other.names == contents.names && any isJob children && other.places == contents.places)
          above;
    in
    { inherit path value kind found children repeats; };

  look = { path, kind, found, children, repeats, ... }:
    let
      is = kind: { done = [ { inherit path kind; } ]; more = [ ]; };
    in
    if kind == null then is "thrown"
    else if kind.value == "walked" then
      if repeats then is "repeated" else { done = [ ]; more = children; }
    else if kind.value == "derivation" then
      if found == null then is "thrown"
      else { done = [ { inherit path; kind = "job"; job = found.value; } ]; more = [ ]; }
    else if elem kind.value [ "skipped" "left" ] then { done = [ ]; more = [ ]; }
    else is kind.value;

  # All places of one depth, then those below, so that it ends however many there are.
  walk = count: places:
    let
      looked = map look places;
      more = concatMap (place: place.more) looked;
      total = count + length more;
    in
    concatMap (place: place.done) looked
    ++ (if more == [ ] then [ ] else if total > maxPlaces then tooMany more else walk total more);

  # One for each attribute of the root.
  tooMany = places: attrValues (listToAttrs (
    map (place: { name = head place.path; value = { path = [ (head place.path) ]; kind = "tooMany"; }; })
      places
  ));

  # Goes from the root to a path by the same rules as `walk`; null where `walk` never comes.
  find = foldl'
    (place: name:
      let
        real = (byShown place.value).${name} or [ ];
        child = if place.value ? ${name} then name else head real;
      in
      if place == null || place.kind.value != "walked" || name == "recurseForDerivations"
        || !(place.value ? ${name}) && real == [ ]
      then
        null
      else
        childAt [ ] place.path place.value (byShown place.value) child)
    (placeAt [ ] false [ ] root);

  walkFrom = path:
    let
      place = attempt (find path);
    in
    if place == null then [ { inherit path; kind = "thrown"; } ]
    else if place.value == null then [ { inherit path; kind = "missing"; } ]
    else walk 0 [ place.value ];

  describe = path:
    let
      place = find path;
    in
    if place == null then { kind = "missing"; }
    else {
      kind = place.kind.value;
      children =
        if place.kind.value == "walked" then map text (childNames place.value) else [ ];
    };

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
