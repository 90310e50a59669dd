/*
  meson. Every build must call `meson setup` again, as nixpkgs' `meson` does.

  An option keeps its first value: changed defaults, of `project` or in the file of options, have no
  effect on a build directory that is already there. Other changes of `meson.build` are followed.
*/
{ paths ? [ "build" ] }:
{
  persist.build = paths;
  definitions = [
    "./meson.build" "subprojects/*/meson.build" "meson_options.txt" "meson.options" "*.ini"
  ];
  hiding = import ../internalHeaders.nix;
}
