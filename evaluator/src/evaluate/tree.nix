# Looks at the tree of a flake that could not be evaluated, without evaluating it.
{ url, ref, rev, shallow }:
let
  tree = builtins.fetchTree ({ type = "git"; inherit url ref rev; } // (if shallow then { inherit shallow; } else { }));
in
{
  source = builtins.unsafeDiscardStringContext tree.outPath;
  flakesBelow =
    let
      entries = builtins.readDir tree.outPath;
      isFlake = name: entries.${name} == "directory" && builtins.pathExists (tree.outPath + "/${name}/flake.nix");
    in
    builtins.filter isFlake (builtins.attrNames entries);
  hasFlake = builtins.pathExists (tree.outPath + "/flake.nix");
  hasLock = builtins.pathExists (tree.outPath + "/flake.lock");
}
