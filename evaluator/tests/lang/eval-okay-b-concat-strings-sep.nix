# Strings joined, with conversion as in interpolation.
[ (builtins.concatStringsSep "," [ "a" "b" ]) (builtins.concatStringsSep "" [ ]) (builtins.concatStringsSep ", " [ "x" ]) (builtins.concatStringsSep "-" [ { outPath = "p"; } "q" ]) ]
