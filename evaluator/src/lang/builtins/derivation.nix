# What users see of a derivation: its attributes, and each output as an attribute set of its own.
attributes@{ outputs ? [ "out" ], ... }:

let
  strict = derivationStrict attributes;

  common = attributes // builtins.listToAttrs named // {
    all = map (output: output.value) named;
    drvAttrs = attributes;
  };

  named = map (name: {
    inherit name;
    value = common // {
      outPath = builtins.getAttr name strict;
      drvPath = strict.drvPath;
      type = "derivation";
      outputName = name;
    };
  }) outputs;
in
(builtins.head named).value
