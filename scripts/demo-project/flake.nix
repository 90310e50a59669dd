{
  description = "A C program whose job is incremental";

  outputs = { self }:
    let
      # A copy of levain's `lib/`; a real project names levain as a flake input.
      levain = import ./levain;
    in
    {
      levainProject = levain.mkProject { incremental.enable = true; };

      levainJobs.x86_64-linux.app = derivation {
        name = "app";
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ ./build.sh ];
        src = ./src;
        outputs = [ "out" "cache" ];
        previous = levain.cache ./cache.nix "x86_64-linux.app";
      };
    };
}
