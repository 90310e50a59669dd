# Strings are bytes: half a character is a string, and a name, like any other.
let
  half = builtins.substring 0 1 "é";
  other = builtins.substring 1 1 "é";
  set = { ${half} = 1; ${other} = 2; };
in
[
  (builtins.stringLength half)
  (half + other == "é")
  (builtins.placeholder half != builtins.placeholder other)
  (builtins.placeholder half)
  (builtins.hashString "sha256" half)
  (builtins.getAttr half set)
  (builtins.getAttr other set)
  set.${other}
  (builtins.hasAttr half set && ! builtins.hasAttr "é" set)
  (builtins.length (builtins.attrNames (builtins.removeAttrs set [ half ])))
  (builtins.catAttrs half [ set { } set ])
  (builtins.intersectAttrs { ${half} = 0; } set == { ${half} = 1; })
  (builtins.listToAttrs [ { name = half; value = 1; } { name = other; value = 2; } ] == set)
  (builtins.attrNames (builtins.groupBy (x: x) [ half half ]) == [ half ])
  (builtins.replaceStrings [ half ] [ "a" ] (half + "b"))
  (builtins.concatStringsSep "" [ half other ])
  (builtins.compareVersions half other)
  (builtins.splitVersion (half + ".1") == [ half "1" ])
  ((builtins.parseDrvName (half + "-1")).name == half)
  (baseNameOf ("/" + half) == half)
  (builtins.elem half [ other half ])
  (half < other)
  (builtins.toXML half == builtins.toXML other)
  (builtins.head (builtins.split "x" half) == half)
  (toString half == half)
  (builtins.fromJSON (builtins.toJSON (half + other)))
  ((derivation { name = "n"; system = "s"; builder = half; }).outPath)
]
