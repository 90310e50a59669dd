{
  description = "Continuous integration for Nix flakes, incremental and pure";

  # No inputs: whoever uses the library locks nothing else.
  outputs = _: import ./nix/outputs.nix { pkgsFor = import ./nix/nixpkgs.nix; } // {
    lib = import ./lib;

    # For `pkgs.callPackage levain.package { }`, with whichever nixpkgs the user has.
    package = import ./nix/levain-cache.nix;

    nixosModules.default = import ./nix/module.nix;

    templates = rec {
      default = make;
      make = {
        path = ./templates/make;
        description = "A program in C whose job compiles only what changed";
      };
      cargo = {
        path = ./templates/cargo;
        description = "A program in Rust whose job compiles only what changed";
      };
    };
  };
}
