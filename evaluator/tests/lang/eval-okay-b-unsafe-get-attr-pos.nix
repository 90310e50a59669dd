# Where an attribute was written.
let s = {
  a = 1;
    b.c = 2;
  inherit (s) d;
}; p = n: s: builtins.removeAttrs (builtins.unsafeGetAttrPos n s) [ "file" ]; in [ (p "a" s) (p "b" s) (p "c" s.b) (builtins.unsafeGetAttrPos "x" s) (builtins.unsafeGetAttrPos "x" (builtins.listToAttrs [ { name = "x"; value = 1; } ])) ]
