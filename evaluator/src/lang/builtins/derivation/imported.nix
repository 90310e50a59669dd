# Makes of a derivation's paths, read from its file, what users see of it.
{
  name,
  drvPath,
  outputs,
  paths,
}:
let
  common = byName // {
    inherit name drvPath;
    type = "derivation";
    all = map (output: byName.${output}) outputs;
  };
  byName = builtins.mapAttrs (
    outputName: outPath: common // { inherit outputName outPath; }
  ) paths;
in
byName.${builtins.head outputs}
