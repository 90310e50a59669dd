# Package scopes as nixpkgs makes them, sets that stand in themselves, aggregates, and errors in what
# is only said about a job.
{
  outputs = { self }:
    let
      system = "x86_64-linux";
      derive = name: derivation { inherit name system; builder = "/bin/sh"; };
      functor = { __functor = self: x: x; };
      cycle = { again = cycle; job = derive "in-cycle"; };
    in
    {
      levainJobs = {
        scope = {
          recurseForDerivations = true;
          job = derive "in-scope";
          callPackage = x: x;
          newScope = functor;
          version = "1.0";
          list = [ (derive "in-list") ];
          path = ./.;
          none = null;
          lib.broken = abort "nobody looks inside";
          inner = { recurseForDerivations = true; job = derive "in-inner"; override = x: x; };
          thrown = throw "renamed";
        };
        plain = { override = x: x; inherit functor; };
        inherit cycle;
        nested.job = derive "same";
        nested.nested.job = derive "another";
        aggregate = derive "aggregate" // {
          _hydraAggregate = true;
          constituents = [ "scope.job" (derive "in-inner") ];
        };
        # Nobody would build the second; here, it is an input.
        unbuilt = derive "unbuilt" // {
          _hydraAggregate = true;
          constituents = [ "scope.job" (derive "no-job") ];
        };
        needing = derivation {
          inherit system;
          name = "needing";
          builder = "/bin/sh";
          _hydraAggregate = true;
          constituents = [ (derive "in-inner") (derive "no-job") ];
        };
        lost = derive "lost" // { _hydraAggregate = true; constituents = [ "scope.gone" ]; };
        meta = derive "meta" // { meta = abort "no meta"; };
        both = derive "both" // { meta.description = abort "none"; levain.key = abort "no key"; };
        thrownKey = derive "key" // { levain.key = throw "no key today"; };
      };
    };
}
