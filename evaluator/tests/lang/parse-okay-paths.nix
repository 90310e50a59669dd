# Paths and search paths.
with { };
[ /a/b /a/../b <nixpkgs/lib> /a/${b}/c ]
