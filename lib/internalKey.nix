/*
  A hash over everything in a derivation but its sources, for `levain-cache`.

  levain's own key masks whatever comes from the project's tree. For the sources that is right, since
  their copy in the build directory is compared file by file. A recipe such as `./build.sh` is compared by nobody else.
*/
{ sources }:
drv:
let
  inherit (builtins)
    concatStringsSep filter foldl' genList hashString isString length map replaceStrings split stringLength
    substring toJSON unsafeDiscardStringContext;

  options = drv.levain or drv.passthru.levain or { };
  given = removeAttrs drv.drvAttrs (options.ignoreEnv or [ ]);

  # Only where a value is the source and nothing else. A text that leads into it, such as
  # `sh ${src}/build.sh`, reads the store's copy, which nobody compares. And of several sources only
  # one is where the build works.
  paths =
    if length given' == 1 then map (source: ''"${unsafeDiscardStringContext "${source}"}"'') given'
    else [ ];
  given' = filter (source: source != null) sources;
  text = replaceStrings paths (map (_path: ''"<source>"'') paths)
    (unsafeDiscardStringContext (toJSON given));

  # Inputs that do not count are known by their names.
  letters = name: genList (index: substring index 1 name) (stringLength name);
  pattern = name: concatStringsSep "" (map (letter: if letter == "-" then letter else "[${letter}]") (letters name));
  masked = foldl'
    (text: name:
      concatStringsSep "-${name}" (filter isString (split "[0-9a-df-np-sv-z]{32}-${pattern name}" text)))
    text
    (options.maskInputs or [ ]);
in
hashString "sha256" masked
