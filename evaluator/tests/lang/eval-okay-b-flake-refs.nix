# Flake references as sets and back.
# since 2.19
[ (builtins.parseFlakeRef "github:NixOS/nixpkgs/23.05?dir=lib") (builtins.flakeRefToString { type = "github"; owner = "NixOS"; repo = "nixpkgs"; ref = "23.05"; dir = "lib"; }) (builtins.parseFlakeRef "git+https://example.org/a?ref=main&shallow=1") (builtins.parseFlakeRef "nixpkgs/main") ]
