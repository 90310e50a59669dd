{
  description = "A program in Rust whose job compiles only what changed";

  inputs.levain.url = "github:levain-ci/levain";

  outputs = { self, levain }:
    let
      system = "x86_64-linux";

      # With the host's Rust. With nixpkgs, put `pkgs.rustPlatform.buildRustPackage { … }` here instead.
      hello = derivation {
        name = "hello";
        inherit system;
        builder = "/bin/sh";
        args = [ ./build.sh ];
        src = ./src;
        # What `rustc --print sysroot` prints on the machines that build.
        rust = "/usr";
      };

      incremental = levain.lib.incremental {
        cache = ./cache.nix;
        job = "${system}.hello";
        # Where `bin/levain-cache` is installed on the machines that build. With nixpkgs:
        # `tool = pkgs.callPackage levain.package { };`
        tool = "/usr/local";
        settings = levain.lib.settings.cargo { };
      };
    in
    {
      levainProject = levain.lib.mkProject { incremental.enable = true; };

      levainJobs.${system}.hello = incremental hello;
      packages.${system}.default = incremental hello;
    };
}
