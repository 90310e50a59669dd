{
  outputs = _:
    let
      derive = system: name: derivation {
        inherit name system;
        builder = "/bin/sh";
        args = [ "-c" "echo > $out; exit 0" ];
      };
      perSystem = system: {
        default = derive system "default";
        nested = { recurseForDerivations = true; inner = derive system "inner"; };
        unasked = { inner = derive system "unasked"; };
        ignored = { recurseForDerivations = false; inner = derive system "ignored"; };
      };
    in
    {
      packages = {
        x86_64-linux = perSystem "x86_64-linux";
        aarch64-linux = throw "another system";
      };
      checks.x86_64-linux.test = derive "x86_64-linux" "test";
      devShells.x86_64-linux.default = throw "no job";
    };
}
