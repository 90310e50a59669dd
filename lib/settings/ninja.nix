/*
  ninja, with a `build.ninja` that is a source. It compares command lines itself, and keeps its log
  and its dependencies beside what it builds.
*/
{ paths ? [ "." ] }:
{
  persist.build = paths;
}
