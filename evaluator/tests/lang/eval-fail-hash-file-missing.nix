# The hash of a missing file.
builtins.hashFile "sha256" ./surely-not-there
