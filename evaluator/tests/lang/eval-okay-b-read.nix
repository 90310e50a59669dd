# Files and directories.
[ (builtins.readFile ./data/text) (builtins.readDir ./data) (import ./data/number.nix) (import ./data) (builtins.hashFile "sha256" ./data/text) (import (./data + "/number.nix")) ]
