# Search paths go through `__findFile` and `__nixPath`, which may be replaced.
let __findFile = path: name: [ name path ]; __nixPath = [ "p" ]; in [ <nixpkgs> <nix/fetchurl.nix> <a-b.c/d_e> ]
