{
  outputs = { self }:
    let
      system = "x86_64-linux";
      derive = name: attrs: derivation ({
        inherit name system;
        builder = "/bin/sh";
        args = [ "-c" "echo > $out; exit 0" ];
      } // attrs);
      missingCache = "${builtins.storeDir}/00000000000000000000000000000000-cache";
      nest = depth: if depth == 0 then { leaf = derive "deep" { }; } else { n = nest (depth - 1); };
    in
    {
      levainJobs = {
        good1 = derive "good1" { };
        throws = derive "throws" { value = throw "this job is not ready"; };
        throwsAtOnce = throw "not even a derivation";
        throwsInName = derivation { name = throw "no name"; inherit system; builder = "/bin/sh"; };
        good2 = derive "good2" { };
        asserts = assert 1 == 2; derive "asserts" { };
        aborts = derive "aborts" { value = abort "stop here"; };
        missingAttribute = derive "missing" { value = { }.nothing; };
        typeError = derive "type" { value = 1 + "x"; };
        good3 = derive "good3" { };
        recursion = derive "recursion" { value = let x = x; in x; };
        stack = derive "stack" { value = let count = n: 1 + count (n + 1); in toString (count 0); };
        syntax = import ./broken.nix;
        missingFile = import ./absent.nix;
        missingArgument = derive "argument" { value = ({ needed }: needed) { }; };
        illegalName = derive "not a name" { };
        good4 = derive "good4" { };
        cache = derive "cached" {
          cache = builtins.appendContext missingCache { ${missingCache} = { path = true; }; };
        };
        importFromDerivation = import (derive "imported" { });
        set = {
          good5 = derive "good5" { };
          aborts = derive "aborts" { value = abort "stop there"; };
          unlistable = if abort "no names" then { } else { };
        };
        string = "hello";
        list = [ (derive "in-list" { }) ];
        function = x: x;
        null = null;
        "dotted.name" = abort "dotted";
        options = derive "options" { } // { levain.keys = "misspelt"; };
        optionsFunction = derive "options" { } // { levain.key = x: x; };
        nameless = { type = "derivation"; };
        wrongPath = { type = "derivation"; name = "x"; inherit system; drvPath = "x"; outputs = [ ]; };
        noPath = { type = "derivation"; name = "x"; inherit system; drvPath = 5; outputs = [ ]; };
        notInTheStore = {
          type = "derivation";
          drvPath = "${builtins.storeDir}/prwm9syyq3qlrywj4hir7c92gf7kbl1q-never-made.drv";
        };
        # What it says about another derivation does not count.
        posing = let real = derive "real" { }; in {
          type = "derivation";
          inherit (real) drvPath;
          name = "posing";
          system = "riscv64-linux";
          outputs = [ "out" "cache" ];
          outPath = "${builtins.storeDir}/prwm9syyq3qlrywj4hir7c92gf7kbl1q-evil";
          cache.outPath = "${builtins.storeDir}/prwm9syyq3qlrywj4hir7c92gf7kbl1q-evil";
        };
        narrowed = derive "narrowed" { outputs = [ "out" "dev" ]; } // { outputs = [ ]; };
        description = derive "described" { } // { meta.description = throw "no description"; };
        contentAddressed = derive "content-addressed" {
          __contentAddressed = true;
          outputHashMode = "recursive";
          outputHashAlgo = "sha256";
        };
        tooDeep = nest 20;
        good6 = derive "good6" { };
      };
    };
}
