# A file that is not there.
builtins.readFile ./surely-not-there
