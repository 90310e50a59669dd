{
  description = "Nested sets, several systems and outputs, odd names";
  outputs = _:
    let
      derive = system: name: attrs: derivation ({
        inherit name system;
        builder = "/bin/sh";
        args = [ "-c" "echo > $out; exit 0" ];
      } // attrs);
    in
    {
      levainJobs = {
        x86_64-linux = {
          hello = derive "x86_64-linux" "hello" { };
          "dotted.name" = derive "x86_64-linux" "dotted" { };
          "blank and \"quote\" and \${dollar}" = derive "x86_64-linux" "odd" { };
          "3d" = derive "x86_64-linux" "three" { };
          several = derive "x86_64-linux" "several" { outputs = [ "out" "dev" "cache" ]; };
          deep.deeper.deepest = derive "x86_64-linux" "deepest" { };
          skipped = {
            recurseForDerivations = false;
            never = throw "nobody looks in here";
          };
          asked = {
            recurseForDerivations = true;
            job = derive "x86_64-linux" "asked" { };
          };
          options = derive "x86_64-linux" "options" { } // {
            meta.description = "A job with everything";
            passthru.levain = {
              key = { version = 2; };
              ignoreEnv = [ "version" ];
              maskInputs = [ "generated" ];
            };
          };
        };
        aarch64-linux.hello = derive "aarch64-linux" "hello" { };
        nothing = { };
      };
      # Not looked at, because there are levainJobs.
      hydraJobs = throw "not this output";
      packages = throw "nor this one";
    };
}
