# The value of a file; if it is a function, what it returns for the arguments that modules take.
{ lib, value }:
let
  given = {
    inherit lib;
    config = { };
    options = { };
    pkgs = { inherit lib; system = "x86_64-linux"; };
    inputs = { };
    self = { };
    name = "name";
    system = "x86_64-linux";
    modulesPath = "/modules";
  };
  wanted = builtins.functionArgs value;
  missing = builtins.filter (name: !wanted.${name} && !(given ? ${name})) (builtins.attrNames wanted);
in
if builtins.isFunction value && wanted != { } && missing == [ ]
then value (builtins.intersectAttrs wanted given)
else value
