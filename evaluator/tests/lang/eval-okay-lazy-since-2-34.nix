# What today's Nix leaves unevaluated where 2.8 did not.
# since 2.17
[ (builtins.genericClosure { startSet = [ ]; operator = throw "no"; }) (builtins.replaceStrings [ "a" ] [ (throw "not needed") ] "b") ]
