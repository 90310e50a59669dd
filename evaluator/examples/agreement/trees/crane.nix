# crane as a library, on stand-ins for nixpkgs: names, dummy sources, vendored crates.
{ tree, lib }:
let
  stand-in = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; } // { inherit name; };
  mkDerivation = args:
    let
      given = if builtins.isFunction args then lib.fix args else args;
      simple = v: builtins.isString v || builtins.isPath v || builtins.isInt v || builtins.isBool v || v == null
        || (builtins.isList v && builtins.all simple v) || (v.type or null == "derivation");
    in
    derivation (lib.filterAttrs (_: simple) given // {
      name = given.name or "${given.pname or "p"}-${given.version or "v"}";
      system = "x86_64-linux";
      builder = "/bin/sh";
    }) // { inherit (given) passthru; };
  pkgs = {
    inherit lib pkgs newScope;
    stdenv = { inherit mkDerivation; hostPlatform = lib.systems.elaborate "x86_64-linux"; buildPlatform = lib.systems.elaborate "x86_64-linux"; cc = stand-in "cc" // { targetPrefix = ""; }; };
    stdenvNoCC = pkgs.stdenv;
    rustPlatform.buildRustPackage = mkDerivation;
    runCommand = name: env: text: mkDerivation (env // { inherit name text; });
    runCommandLocal = pkgs.runCommand;
    writeText = name: text: mkDerivation { inherit name text; };
    linkFarm = name: entries: mkDerivation { inherit name; entries = builtins.toJSON entries; };
    linkFarmFromDrvs = name: drvs: mkDerivation { inherit name drvs; };
    fetchurl = args: mkDerivation { name = args.name or (baseNameOf args.url); url = args.url or ""; outputHash = args.sha256 or args.hash; outputHashAlgo = "sha256"; };
    makeSetupHook = args: script: mkDerivation { inherit (args) name; inherit script; };
    formats.toml = _: { generate = name: value: mkDerivation { inherit name; value = builtins.toJSON value; }; };
    splicePackages = splices: splices.pkgsBuildHost or { } // { toolchain = splices.pkgsBuildHost.toolchain or stand-in "toolchain"; };
    makeScopeWithSplicing' = lib.makeScopeWithSplicing' { inherit (pkgs) splicePackages; inherit newScope; };
    generateSplicesForMkScope = _: { };
    pkgsBuildBuild = pkgs; pkgsBuildHost = pkgs; pkgsBuildTarget = pkgs; pkgsHostHost = pkgs; pkgsHostTarget = pkgs; pkgsTargetTarget = { };
  };
  newScope = extra: callWith (pkgs // extra);
  callWith = scope: file: args:
    let
      f = if builtins.isFunction file then file else import file;
      wanted = builtins.functionArgs f;
      found = builtins.mapAttrs (name: _: scope.${name} or (stand-in name)) (lib.filterAttrs (name: optional: !optional || scope ? ${name}) wanted);
    in
    f (found // args);
  crane = callWith pkgs (tree + "/lib") { };
  named = dir: crane.crateNameFromCargoToml { src = tree + "/checks/${dir}"; };
  text = v: builtins.unsafeDiscardStringContext "${v}";
in
{
  names = map named [ "simple" "workspace" "proc-macro" "with-build-script" ];
  vendored = builtins.mapAttrs (_: dir: text (crane.vendorCargoDeps { src = tree + "/checks/${dir}"; }).drvPath) { simple = "simple"; workspace = "workspace"; };
  sources = text (crane.cleanCargoSource (tree + "/checks/simple"));
  toml = map (dir: crane.cleanCargoToml { cargoToml = tree + "/checks/${dir}/Cargo.toml"; }) [ "simple" "workspace" "workspace-git" ];
  package = text (crane.mkCargoDerivation { pname = "p"; version = "1"; src = crane.cleanCargoSource (tree + "/checks/simple"); cargoArtifacts = null; buildPhaseCargoCommand = "cargo build"; }).drvPath;
  codes = map (file: builtins.fromTOML (builtins.readFile file))
    (lib.filter (lib.hasSuffix "Cargo.lock") (lib.filesystem.listFilesRecursive (tree + "/checks")));
}
