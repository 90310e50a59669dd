{
  description = "A program in C whose job compiles only what changed";

  inputs.levain.url = "github:levain-ci/levain";

  outputs = { self, levain }:
    let
      system = "x86_64-linux";

      # With the host's compiler. With nixpkgs, put `pkgs.stdenv.mkDerivation { … }` here instead.
      app = derivation {
        name = "app";
        inherit system;
        builder = "/bin/sh";
        args = [ ./build.sh ];
        src = ./src;
      };

      incremental = levain.lib.incremental {
        cache = ./cache.nix;
        job = "${system}.app";
        # Where `bin/levain-cache` is installed on the machines that build. With nixpkgs:
        # `tool = pkgs.callPackage levain.package { };`
        tool = "/usr/local";
        settings = levain.lib.settings.make { };
      };
    in
    {
      levainProject = levain.lib.mkProject { incremental.enable = true; };

      levainJobs.${system}.app = incremental app;
      packages.${system}.default = incremental app;
    };
}
