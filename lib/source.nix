/**
  Returns a source tree without what the shadow branch adds to it, under a fixed name.

  The result does not depend on `cache.nix` and `commit.txt`, so a job with this source has the same
  derivation on every commit that changes nothing else.

  # Inputs

  `tree`
  : A path such as `./.`, the flake's `self`, or an attribute set of
    `path`, `name` (by default `source`) and `files` (the two files' names, if the declaration
    changes them).

  # Type

  ```
  source :: (Path | { path :: Path; name :: String; files :: [ String ]; }) -> String
  ```

  # Example

  ```nix
  derivation {
    name = "server";
    src = levain.lib.source ./.;
    …
  }
  ```
*/
tree:
let
  # `self` is an attribute set too, and knows where it lies.
  arguments =
    if builtins.isAttrs tree && !(tree ? outPath) then tree
    else { path = tree.outPath or tree; };

  copy =
    {
      path,
      name ? "source",
      files ? [ "cache.nix" "commit.txt" ],
    }:
    let
      root = builtins.unsafeDiscardStringContext (toString (path.outPath or path));
      leftOut = map (file: "${root}/${file}") (files ++ [ ".git" ]);
    in
    builtins.path {
      inherit name;
      path = path.outPath or path;
      filter = file: _type: !(builtins.elem file leftOut);
    };
in
copy arguments
