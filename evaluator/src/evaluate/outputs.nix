# The set whose attribute paths name a flake's jobs.
#
# `declared` has names of outputs, or is null: then the flake's own output for jobs counts, or else its
# checks and packages. Outputs that have an attribute for each system are limited to one system.
{ outputs, system, declared }:
let
  inherit (builtins) elem filter intersectAttrs isAttrs listToAttrs map mapAttrs;

  ofSystem = systems:
    if isAttrs systems then intersectAttrs { ${system} = null; } systems else systems;
  each = jobOf: set: if isAttrs set then mapAttrs (name: jobOf) set else set;

  # Where the jobs of an output are.
  known = {
    checks = ofSystem;
    packages = ofSystem;
    devShells = ofSystem;
    formatter = ofSystem;
    legacyPackages = ofSystem;
    nixosConfigurations = each (machine: machine.config.system.build.toplevel);
    darwinConfigurations = each (machine: machine.system);
    homeConfigurations = each (home: home.activationPackage);
    levainJobs = jobs: jobs;
    hydraJobs = jobs: jobs;
  };

  output =
    if declared != null then "declared"
    else if outputs ? levainJobs then "levainJobs"
    else if outputs ? hydraJobs then "hydraJobs"
    else "checksAndPackages";
  # Whether attribute paths begin inside that output, not with its name.
  hasOne = elem output [ "levainJobs" "hydraJobs" ];

  # The set whose attribute paths name the jobs.
  root =
    if hasOne then
      outputs.${output}
    else
      listToAttrs (
        map (name: { inherit name; value = known.${name} outputs.${name}; })
          (filter (name: outputs ? ${name})
            (if declared != null then declared else [ "checks" "packages" ]))
      );
in
{ inherit output root hasOne; }
