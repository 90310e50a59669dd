/*
  cargo. Crates that did not change are not compiled; those that did are compiled whole, unless
  `incremental` says that the compiler is to keep parts of them, too.

  Of each profile's directory only what cargo itself looks after is kept: a program whose source is
  gone would otherwise still lie there, for whoever installs all that he finds.
*/
{
  target ? "target",
  profiles ? [ "debug" "release" ],
  incremental ? false,
  triples ? [ "aarch64-unknown-linux-gnu" "x86_64-unknown-linux-gnu" ],
}:
let
  inherit (builtins) concatMap map;
  places = [ target ] ++ map (triple: "${target}/${triple}") triples;
  directories = concatMap (place: map (profile: "${place}/${profile}") profiles) places;
in
{
  persist.target =
    [ "${target}/.rustc_info.json" ]
    ++ concatMap
      (directory: map (name: "${directory}/${name}") [ ".fingerprint" "build" "deps" "incremental" ])
      directories;
  optional = true;
  variables.CARGO_INCREMENTAL = if incremental then "1" else "0";
}
