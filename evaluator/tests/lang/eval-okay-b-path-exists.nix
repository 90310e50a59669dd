# Files that are there, or not.
[ (builtins.pathExists ./eval-okay-b-path-exists.nix) (builtins.pathExists ./surely-not-there) (builtins.pathExists ./.) (builtins.pathExists "/surely/not/there") ]
