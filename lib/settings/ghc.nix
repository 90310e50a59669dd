/*
  GHC by `ghc --make -outputdir`. Not cabal, which keeps a plan and paths of its own.
*/
{ paths ? [ "build" ] }:
{
  persist.build = paths;
}
