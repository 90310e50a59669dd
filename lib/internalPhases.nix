/*
  The derivation with two more phases, for builders like nixpkgs' `stdenv`: one before
  `configurePhase`, when the sources are unpacked and patched, and one after all others.
*/
{ directories, fail, output, outputs, program, replay, sets, variables, ... }:
drv:
let
  inherit (builtins) attrNames concatStringsSep filter isList listToAttrs map replaceStrings;

  quote = word: "'" + replaceStrings [ "'" ] [ "'\\''" ] word + "'";
  lines = concatStringsSep "\n";
  # The working directory may have changed since; both commands must be given the same.
  places = ''--source "$levainSource" --into "$levainSource"'';
  # With structured attributes the names of the outputs are not in the environment.
  command = name: words:
    "env outputs=${quote (toString outputs)} ${quote program} ${name} ${concatStringsSep " " (map quote words)} ${places}";

  exports = lines (
    map (name: ''export ${name}="$levainSource"/${quote directories.${name}}'') (attrNames directories)
  );

  restore = lines (
    [ "levainSource=$PWD" ] ++ map (set: command "restore" set.restore) sets ++ [ exports ]
  );
  persist = lines (map (set: command "persist" set.persist) sets);

  # A list of phases may be written as a text.
  append = phases: phase:
    if isList phases then phases ++ [ phase ] else toString phases + " ${phase}";
in
drv.overrideAttrs (
  old:
  let
    own = old.env or { };
    # Not `drv.outputs`: what `stdenv` adds to these, such as `debug`, it will add again.
    before = old.outputs or [ "out" ];
    missing = listToAttrs (
      map (name: { inherit name; value = variables.${name}; })
        (filter (name: !(old ? ${name} || own ? ${name})) (attrNames variables))
    );
    # There, only what is in `env` gets into the environment.
    environment =
      if old ? env || old.__structuredAttrs or false then { env = own // missing; } else missing;
  in
  if old ? phases then
    fail "the derivation sets `phases`, so that none can be added\nhint: remove `phases`, and leave phases out with `dontConfigure = true` and the like"
  else
    environment
    // {
      outputs = before ++ [ output ];
    }
    // (if sets == [ ] then { } else {
      preConfigurePhases = append (old.preConfigurePhases or [ ]) "levainRestorePhase";
      postPhases = append (old.postPhases or [ ]) "levainPersistPhase";
      levainRestorePhase = restore;
      levainPersistPhase = persist;
    })
    // {
      # Where Nix numbers build directories, `levain-cache build` gives them one name.
      realBuilder = program;
      args =
        [ "build" "--place-only" ] ++ replay ++ [ "--" drv.drvAttrs.builder ] ++ drv.drvAttrs.args or [ ];
    }
    // (
      # With one output, `stdenv` tells `configure` of no directories; the cache must not change that.
      if before != [ "out" ] || old ? setOutputFlags then { } else { setOutputFlags = false; }
    )
    // (
      # Once more: what configures may set them, too.
      if directories == { } then { }
      else {
        preBuildPhases = append (old.preBuildPhases or [ ]) "levainDirectoriesPhase";
        levainDirectoriesPhase = exports;
      }
    )
)
