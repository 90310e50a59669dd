/*
  ninja, with a `build.ninja` that is a source.

  It compares command lines itself, but leaves what an edge made that is gone. Who installs only what
  he names can do with `definitions = [ ]`.
*/
{ paths ? [ "." ] }:
{
  persist.build = paths;
  definitions = [ "*.ninja" ];
  hiding = import ../internalHeaders.nix;
}
