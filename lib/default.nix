# The library for flakes that levain builds. Needs no nixpkgs.
{
  cache = import ./cache.nix;
  mkProject = import ./mkProject.nix;
  source = import ./source.nix;
}
