/*
  dune. Its own cache, shared between projects in the home directory, is of no use inside a build.
*/
{ paths ? [ "_build" ] }:
{
  persist.build = paths;
  variables.DUNE_CACHE = "disabled";
}
