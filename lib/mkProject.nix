/**
  Checks a project's declaration and returns it, for the flake output `levainProject`.

  Only what is given is returned; levain itself knows the defaults. An unknown key or a wrong type
  is an error that names the key.

  # Inputs

  `incremental`
  : `enable` is the one switch. `defaultBranch`, `pullRequests` and `branches` (patterns with `*`)
    say where builds are incremental; `depthLimit` and `maxAgeDays` how long; `cacheOutput` names
    the output that the next build starts from;
    `audit.every` has every so manieth incremental build compared with a clean one.

  `files`
  : `pointer` and `commit` name the two files of the shadow branch.

  `shadow`
  : `ref` and `message` are templates; `push` says whether shadow branches leave this machine.

  `evaluation`
  : `allowImportFromDerivation` lets evaluations build.

  `forge`
  : `kind`, and where it cannot be derived from the remote `apiUrl` and `repository`;
    `contextPrefix` and `targetUrl` for the statuses.

  `status`
  : Templates of the statuses' texts.

  # Type

  ```
  mkProject :: AttrSet -> AttrSet
  ```

  # Example

  ```nix
  levainProject = levain.lib.mkProject {
    incremental.enable = true;
    forge.kind = "github";
  };
  ```
*/
let
  inherit (import ./internalTypes.nix) bool integer oneOf settings string strings;

  texts = names: builtins.listToAttrs (map (name: { inherit name; value = string; }) names);

  project = settings {
    types = {
      incremental = settings {
        types = {
          enable = bool;
          defaultBranch = bool;
          pullRequests = bool;
          branches = strings;
          depthLimit = integer;
          maxAgeDays = integer;
          cacheOutput = string;
          audit = settings { types.every = integer; };
        };
      };
      files = settings { types = texts [ "pointer" "commit" ]; };
      shadow = settings { types = texts [ "ref" "message" ] // { push = bool; }; };
      evaluation = settings { types.allowImportFromDerivation = bool; };
      forge = settings {
        types = texts [ "apiUrl" "repository" "contextPrefix" "targetUrl" ] // {
          kind = oneOf [ "github" "gitlab" "gitea" "forgejo" ];
        };
        required = [ "kind" ];
      };
      status = settings {
        types = texts [
          "context" "pending" "running" "successFresh" "successIncremental" "successClean"
          "failure" "error" "cancelled" "summaryContext" "summaryPending" "summaryRunning"
          "summarySuccess" "summaryFailure" "summaryError" "summaryCancelled"
        ];
      };
    };
  };
in
declaration:
let
  checked = project "levainProject" declaration;
in
# All of it at once: a wrong key must not wait until somebody reads it.
builtins.deepSeq checked checked
