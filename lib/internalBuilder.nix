/*
  The derivation with `levain-cache build` as its builder, which starts the one it had.
*/
{ directories, fail, outputs, program, replay, sets, variables, ... }@details:
drv:
let
  inherit (builtins) attrNames concatMap map;

  given = drv.drvAttrs;
  source =
    details.source or given.src or (fail
      "the derivation has no `src` to unpack\nhint: give it `src = levain.lib.source ./.`, or name the sources with `source`");

  new = derivation (
    variables
    // given
    // {
      inherit outputs;
      builder = program;
      args =
        [ "build" "--unpack=${source}" ]
        ++ map (name: "--directory-variable=${name}=${directories.${name}}") (attrNames directories)
        ++ replay
        ++ concatMap (set: [ "--restore" ] ++ set.restore) sets
        ++ concatMap (set: [ "--persist" ] ++ set.persist) sets
        ++ [ "--" given.builder ]
        ++ given.args or [ ];
    }
  );
in
if given.__structuredAttrs or false then
  fail "`__structuredAttrs` leaves a plain derivation without the variables that name its outputs\nhint: remove `__structuredAttrs`, or use `stdenv.mkDerivation`"
else
  # `passthru`, `meta` and the like are no part of what Nix builds.
  new // removeAttrs drv (attrNames new)
