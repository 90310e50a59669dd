/*
  Checks the arguments of `incremental`, all of them at once, and adds the defaults. Every error names
  the job.
*/
arguments:
let
  inherit (builtins) attrNames isAttrs isFunction isList isPath isString mapAttrs;
  inherit (import ./internalTypes.nix)
    attrsOf bool expected integer kindOf oneOf settings string strings;

  job =
    if !isAttrs arguments then
      throw "levain.lib.incremental: expected an attribute set, found ${kindOf arguments}"
    else if !(arguments ? job) then
      throw "levain.lib.incremental: `job` is missing\nhint: name the job's attribute path, as in `job = \"x86_64-linux.app\"`"
    else
      string "levain.lib.incremental: job" arguments.job;

  ofSet = {
    definitions = strings;
    hiding = strings;
    gone = oneOf [ "keep" "drop" "outputs" ];
    goneOutputs = strings;
    goneMatch = strings;
    exclude = strings;
    key = string;
    allowOwnPaths = bool;
    relocatable = bool;
    sync = bool;
    optional = bool;
    strict = bool;
    outsideLinks = strings;
    budget = integer;
    overBudget = oneOf [ "drop" "prune" ];
    level = integer;
  };

  set = name: value:
    if isList value then { paths = strings name value; }
    else if isAttrs value then
      settings { types = ofSet // { paths = strings; }; required = [ "paths" ]; } name value
    else expected "a list of paths" name value;

  ofTool = name: value:
    if isFunction value then
      throw "${name}: expected an attribute set, found a function\nhint: call it, as in `levain.lib.settings.make { }`"
    else
      settings
        {
          types = ofSet // {
            persist = attrsOf set;
            variables = attrsOf string;
            directories = attrsOf string;
          };
        }
        name
        value;

  file = name: value:
    if isPath value || isString value then value else expected "a path" name value;

  tool = name: value:
    if isString value || isPath value || (isAttrs value && value ? outPath) then value
    else expected "a derivation or a path" name value;

  any = _name: value: value;

  name = "levain.lib.incremental: job `${job}`: arguments";
  typed =
    if !(arguments ? tool) then
      throw "${name}.tool: missing\nhint: give what has `bin/levain-cache`: with nixpkgs `pkgs.callPackage levain.package { }`, else the directory where it is installed, such as `\"/usr/local\"`"
    else
      settings
        {
          types = {
            cache = file;
            job = string;
            inherit tool;
            persist = attrsOf set;
            settings = ofTool;
            output = string;
            source = any;
          };
          required = [ "cache" "job" ];
        }
        name
        arguments;

  forTool = typed.settings or { };
  sets = mapAttrs
    (_name: set: removeAttrs forTool [ "persist" "variables" "directories" ] // set)
    (typed.persist or forTool.persist or { });

  overlapping = import ./internalOverlap.nix sets;

  checked = {
    output = "cache";
    variables = forTool.variables or { };
    directories = forTool.directories or { };
  }
  // removeAttrs typed [ "persist" "settings" ]
  // { inherit sets; };
in
if overlapping != [ ] then
  let pair = builtins.head overlapping; in
  throw "${name}.persist: `${pair.inner}` of the set `${pair.of}` lies in `${pair.outer}` of the set `${pair.by}`, and would come back with that one when it must not\nhint: keep it in one set, or leave it out of the other with `persist.${pair.by}.exclude`"
else if typed ? persist && attrNames sets == [ ] then
  throw "${name}.persist: nothing to keep\nhint: name what the next build can use, as in `persist.objects = [ \"build\" ]`; without `persist` and `settings`, commands are skipped"
else
  # What is looked at late must not be wrong until then. Derivations have no end.
  builtins.deepSeq (removeAttrs checked [ "source" "tool" ]) (builtins.seq checked.tool checked)
