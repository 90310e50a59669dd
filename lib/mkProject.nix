/**
  Checks a project's declaration and returns it, for the flake output `levainProject`.

  Only what is given is returned; levain itself knows the defaults. An unknown key or a wrong type
  is an error that names the key.

  # Inputs

  `incremental`
  : `enable` is the one switch. `defaultBranch`, `pullRequests` and `branches` (patterns with `*`)
    say where builds are incremental; `depthLimit` and `maxAgeDays` how long; `cacheOutput` names
    the output that the next build starts from; `trustedKeys` are the public keys of other levains
    whose caches are used;
    `retryClean` builds clean what fails from a cache, before that counts as a failure.
    `audit.every` compares every Nth incremental build in a row with a clean one.

  `files`
  : `pointer` and `commit` name the two files of the shadow branch.

  `shadow`
  : `ref` and `message` are templates; `push` says whether shadow branches leave this machine.

  `evaluation`
  : `allowImportFromDerivation` lets evaluations build; `timeout`, `memory` and `maxJobs` lower the
    operator's limits; `outputs` names the flake outputs whose jobs are built.

  `build`
  : `timeout` and `silence` stop builds that take or say nothing for too many seconds; they lower the
    server's limits.

  `forge`
  : `kind`, and where it cannot be derived from the remote `apiUrl` and `repository`;
    `contextPrefix` and `targetUrl` for the statuses.

  `logs`
  : `lineBytes`, `logBytes` and `totalBytes` limit what is kept of build logs.

  `systems`
  : The systems whose jobs are built.

  `outputs`
  : `keep` and `keepDays` say which outputs are kept from garbage collection.

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
          trustedKeys = strings;
          retryClean = bool;
          audit = settings { types.every = integer; };
        };
      };
      files = settings { types = texts [ "pointer" "commit" ]; };
      shadow = settings { types = texts [ "ref" "message" ] // { push = bool; }; };
      evaluation = settings {
        types = {
          allowImportFromDerivation = bool;
          timeout = integer;
          memory = integer;
          maxJobs = integer;
          outputs = strings;
        };
      };
      build = settings {
        types = {
          timeout = integer;
          silence = integer;
        };
      };
      forge = settings {
        types = texts [ "apiUrl" "repository" "contextPrefix" "targetUrl" ] // {
          kind = oneOf [ "github" "gitlab" "gitea" "forgejo" ];
        };
        required = [ "kind" ];
      };
      systems = strings;
      outputs = settings {
        types = {
          keep = integer;
          keepDays = integer;
        };
      };
      logs = settings {
        types = {
          lineBytes = integer;
          logBytes = integer;
          totalBytes = integer;
        };
      };
      status = settings {
        types = texts [
          "context" "pending" "running" "successFresh" "successIncremental" "successClean"
          "failure" "error" "cancelled" "skipped" "summaryContext" "summaryUnapproved"
          "summaryQueued" "summaryPending" "summaryRunning"
          "summarySuccess" "summarySkipped" "summaryFailure" "summaryError" "summaryCancelled"
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
