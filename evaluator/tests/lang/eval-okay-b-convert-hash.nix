# Hashes between all formats.
# since 2.19
let h = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; c = toHashFormat: builtins.convertHash { hash = h; inherit toHashFormat; }; in [ (c "base16") (c "nix32") (c "base64") (c "sri") (builtins.convertHash { hash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"; hashAlgo = "sha1"; toHashFormat = "sri"; }) (builtins.convertHash { hash = "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"; toHashFormat = "nix32"; }) ]
