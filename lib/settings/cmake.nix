/*
  cmake with make or ninja. Every build must call `cmake` again, as nixpkgs' `cmake` does.

  A cache variable keeps its first value: a changed `option` or `set(… CACHE …)` has no effect where
  there is a `CMakeCache.txt`. So whatever can declare one is a definition.

  A `file(GLOB …)` forgets a source that is gone, but what a command had made from it stays, for
  whoever installs a whole directory.
*/
{ paths ? [ "build" ] }:
{
  persist.build = paths;
  definitions = [ "CMakeLists.txt" "*.cmake" "CMakePresets.json" "CMakeUserPresets.json" ];
  gone = "drop";
  hiding = import ../internalHeaders.nix;
}
