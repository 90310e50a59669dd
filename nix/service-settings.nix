/**
  Returns the `[Service]` section of a systemd unit as an attribute set, as NixOS has it.

  # Inputs

  `unit`
  : The unit's file. A key that is there several times, such as `SystemCallFilter`, becomes a list.

  # Type

  ```
  serviceSettings :: Path -> AttrSet
  ```

  # Example

  ```nix
  (import ./service-settings.nix ../server/systemd/levain.service).ProtectHome
  => "yes"
  ```
*/
unit:
let
  lines = builtins.filter builtins.isString (builtins.split "\n" (builtins.readFile unit));

  step =
    state@{ section, settings }:
    line:
    let
      header = builtins.match "\\[(.*)]" line;
      setting = builtins.match "([A-Za-z]+)=(.*)" line;
      key = builtins.elemAt setting 0;
      before = settings.${key} or [ ];
    in
    if header != null then
      state // { section = builtins.head header; }
    else if setting == null || section != "Service" then
      state
    else
      state // { settings = settings // { ${key} = before ++ [ (builtins.elemAt setting 1) ]; }; };

  start = {
    section = "";
    settings = { };
  };

  one = values: if builtins.length values == 1 then builtins.head values else values;
in
builtins.mapAttrs (_: one) (builtins.foldl' step start lines).settings
