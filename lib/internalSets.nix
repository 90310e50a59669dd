/*
  The words with which `levain-cache` restores and persists each set: `{ name, restore, persist }`.
  The first word is the set's name.
*/
{ job, key, sets, path, output, ... }:
let
  inherit (builtins) attrNames map placeholder;

  value = option: attribute: set:
    if set ? ${attribute} then [ "--${option}=${toString set.${attribute}}" ] else [ ];
  values = option: attribute: set: map (each: "--${option}=${each}") (set.${attribute} or [ ]);
  switch = option: attribute: set: if set.${attribute} or false then [ "--${option}" ] else [ ];

  # Restore and persist must agree on these.
  common = set:
    [ "--key=${key}${if set ? key then " ${set.key}" else ""}" ]
    ++ switch "allow-own-paths" "allowOwnPaths" set
    ++ values "exclude" "exclude" set
    ++ values "outside-link" "outsideLinks" set;

  words = name:
    let
      set = sets.${name};
    in
    {
      inherit name;
      restore =
        [ name "--from=${toString path}" ]
        ++ common set
        ++ values "definition" "definitions" set
        ++ values "hiding" "hiding" set
        ++ value "gone" "gone" set
        ++ values "gone-outputs" "goneOutputs" set
        ++ values "gone-match" "goneMatch" set
        ++ switch "relocatable" "relocatable" set
        ++ switch "sync" "sync" set
        ++ switch "strict" "strict" set;
      persist =
        [ name ]
        ++ set.paths
        ++ [ "--to=${placeholder output}" "--origin=job=${job}" ]
        ++ common set
        ++ value "budget" "budget" set
        ++ (if set ? budget then value "over-budget" "overBudget" set else [ ])
        ++ value "level" "level" set
        ++ switch "optional" "optional" set;
    };
in
map words (attrNames sets)
