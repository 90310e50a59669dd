# The library for flakes that levain builds. Needs no nixpkgs.
{
  cache = import ./cache.nix;
  incremental = import ./incremental.nix;
  mkProject = import ./mkProject.nix;
  settings = import ./settings;
  source = import ./source.nix;
}
