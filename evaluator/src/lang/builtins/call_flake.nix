# Calls the outputs of a flake with the inputs that its lock file names.
{
  # The lock file's content.
  lock,
  # The tree of the flake itself, as `fetch` would return it, and the directory in it.
  source,
  directory,
  # Fetches the tree of a locked input.
  fetch,
}:
let
  # An input is the name of a node, or the path of another input from the root.
  nameOf = input: if builtins.isList input then follow input else input;
  follow = builtins.foldl' (node: input: nameOf lock.nodes.${node}.inputs.${input}) lock.root;

  below = base: path: if path == "" then base else base + "/" + path;

  call =
    node:
    { inputs ? { }, locked ? { }, flake ? true, parent ? [ ], ... }:
    let
      isRoot = node == lock.root;
      # A path without a slash in front is one in the tree of the flake that has the input.
      isRelative = !isRoot && locked.type or "" == "path" && builtins.substring 0 1 locked.path != "/";
      above = called.${follow parent};
      sourceInfo =
        if isRoot then
          source
        else if isRelative then
          above.sourceInfo
        else
          builtins.addErrorContext "while fetching the input `${node}`" (
            fetch (removeAttrs locked [ "dir" ])
          );
      root = if isRelative then below above.outPath locked.path else sourceInfo.outPath;
      outPath = below root (if isRoot then directory else locked.dir or "");
      expression = import (outPath + "/flake.nix");
      arguments = builtins.mapAttrs (_: input: called.${nameOf input}.result) inputs;
      outputs = expression.outputs (arguments // { self = result; });
      result =
        if flake then
          assert builtins.isFunction expression.outputs;
          outputs
          // sourceInfo
          // {
            inherit outPath outputs sourceInfo;
            inputs = arguments;
            _type = "flake";
          }
        else
          sourceInfo // { inherit outPath sourceInfo; };
    in
    {
      inherit result outPath sourceInfo;
    };

  called = builtins.mapAttrs call lock.nodes;
in
called.${lock.root}.result
