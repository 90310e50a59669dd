/**
  Returns the derivation with a cache output, which it restores before it builds and persists after
  it has built.

  Works on what `stdenv.mkDerivation` returns (anything with `overrideAttrs` and its phases), where
  the cache is restored before `configurePhase` and persisted at the very end, and on a plain
  `derivation`, whose builder is then started in a writable copy of the sources. Without an entry for
  the job in the pointer file it is the clean build, which persists all the same.

  # Inputs

  `cache`
  : The cache pointer file, `./cache.nix`.

  `job`
  : The job's attribute path, as `levain eval` prints it.

  `tool`
  : What has `bin/levain-cache`: a derivation, or a directory on every machine that builds.

  Without `persist` and `settings` the build begins clean, and commands are skipped that would do again exactly
  what they did before.

  `persist`
  : What to keep: a list of paths by the name of the set, below the sources' directory. An attribute
    set with `paths` also takes the settings below, for this set alone.

  `settings`
  : What the build tool needs, from `levain.lib.settings` or of your own: `persist`,
    `definitions`, `hiding`, `gone`, `goneOutputs`, `goneMatch`, `exclude`, `key`, `allowOwnPaths`,
    `relocatable`, `sync`, `optional`, `strict`, `outsideLinks`, `budget`, `overBudget`, `level`, `variables` and
    `directories`. See `docs/incremental-jobs.md`.

  `output`
  : The cache output's name, by default `cache`.

  `source`
  : For a plain `derivation`: its sources, by default its `src`.

  # Type

  ```
  incremental :: AttrSet -> Derivation -> Derivation
  ```

  # Example

  ```nix
  levain.lib.incremental
    {
      cache = ./cache.nix;
      job = "x86_64-linux.app";
      tool = "/usr/local";
      settings = levain.lib.settings.make { };
    }
    (derivation {
      name = "app";
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [ "-c" "make && cp app $out" ];
      src = ./src;
    })
  ```
*/
arguments: drv:
let
  inherit (builtins)
    attrNames elem filter isAttrs isString match pathExists replaceStrings stringLength substring
    trace;

  checked = import ./internalArguments.nix arguments;
  inherit (checked) job output;
  fail = message: throw "levain.lib.incremental: job `${job}`: ${message}";
  warn = condition: message: value:
    if condition then trace "warning: levain.lib.incremental: job `${job}`: ${message}" value else value;

  path = import ./cache.nix checked.cache job;

  # A job that is named otherwise than levain does never finds its cache, and nothing else says so.
  pointer = if pathExists checked.cache then import checked.cache else null;
  endsWith = end: text:
    let rest = stringLength text - stringLength end; in
    rest > 0 && substring rest (-1) text == end;
  similar =
    if isAttrs pointer && !(pointer ? ${job}) then
      filter (name: endsWith ".${job}" name || endsWith ".${name}" job) (attrNames pointer)
    else
      [ ];

  parts = filter isString (builtins.split "\\." (replaceStrings [ "\"" ] [ "" ] job));
  systems = filter (part: match "[a-z0-9_]+-(linux|darwin|freebsd|netbsd|openbsd)" part != null) parts;
  foreign = filter (system: system != drv.system) systems;

  outputs = drv.outputs or [ "out" ];
  details = checked // {
    inherit fail;
    outputs = outputs ++ [ output ];
    program = "${checked.tool}/bin/levain-cache";
    # With nothing to keep by name, commands are skipped that would do what they did before.
    replay =
      if checked.sets != { } then [ ]
      else
        [ "--replay-to=${placeholder output}" "--replay-from=${toString path}" ]
        ++ map (name: "--own-output=${placeholder name}") (outputs ++ [ output ]);
    sets = import ./internalSets.nix (checked // { inherit key path; });
  };
  # What is compared file by file, and needs no key.
  sources =
    if checked ? source then [ checked.source ]
    else if drv.drvAttrs ? srcs then drv.drvAttrs.srcs
    else if drv.drvAttrs ? src then [ drv.drvAttrs.src ]
    else [ ];
  key = import ./internalKey.nix { inherit sources; } drv;
  result =
    if drv ? overrideAttrs then import ./internalPhases.nix details drv
    else import ./internalBuilder.nix details drv;
in
if !(isAttrs drv && drv ? drvAttrs) then
  fail "expected a derivation, found ${(import ./internalTypes.nix).kindOf drv}"
else if elem output outputs then
  fail
    "the derivation already has an output `${output}`\nhint: choose another name with `output`, and tell levain with `incremental.cacheOutput` in `levainProject`"
else
  warn (similar != [ ])
    "`${baseNameOf checked.cache}` has no entry of this name, but one of `${builtins.head similar}`\nhint: `job` is the whole attribute path, as `levain eval` prints it"
    (warn (path != null && foreign != [ ])
      "the derivation is for `${drv.system}`, its cache for `${builtins.head foreign}`\nhint: name the job of the derivation's own system in `job`"
      result)
