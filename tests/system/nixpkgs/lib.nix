# As much of nixpkgs' `lib` as `nix/module.nix` and the packages use, and `evaluate`, which stands for NixOS: it gives
# options their defaults, refuses what has not their types, and returns what the module says about the machine.
let
  inherit (builtins) all attrNames deepSeq isAttrs isBool isInt isList isString mapAttrs;

  lib = {
    mkOption = option: option;
    mkIf = condition: content: if condition then content else { };
    literalExpression = text: { inherit text; };
    optionalAttrs = condition: set: if condition then set else { };
    concatStringsSep = builtins.concatStringsSep;
    mapAttrsToList = function: set: map (name: function name set.${name}) (attrNames set);
    makeBinPath = packages: builtins.concatStringsSep ":" (map (package: "${package}/bin") packages);
    cleanSource = toString;
    licenses = {
      mit = "mit";
      asl20 = "asl20";
    };
    types = {
      bool = isBool;
      str = isString;
      package = package: isAttrs package && package ? outPath;
      nullOr = type: value: value == null || type value;
      listOf = type: value: isList value && all type value;
      attrsOf = type: value: isAttrs value && all (name: type value.${name}) (attrNames value);
      ints.between = low: high: value: isInt value && low <= value && value <= high;
    };
  };

  evaluate =
    module: pkgs: given:
    let
      found = module { inherit config lib pkgs; };
      options = found.options.services.levain;
      value =
        name: option:
        let
          value = given.${name} or option.default;
        in
        if !(option.type value) then
          throw "`services.levain.${name}` has not its type"
        else if !(isString option.description) then
          throw "`services.levain.${name}` has no description"
        else
          value;
      unknown = attrNames (removeAttrs given (attrNames options));
      config = {
        nix.package = "/nix";
        services.levain = mapAttrs value options;
      };
    in
    if unknown != [ ] then
      throw "unknown options: ${toString unknown}"
    else
      deepSeq config.services.levain found.config;
in
{
  inherit lib evaluate;
}
