# A path with the hash that it must have.
builtins.path { path = ./data/text; name = "t"; recursive = false; sha256 = builtins.hashFile "sha256" ./data/text; }
