/**
  What `levain.lib.incremental` needs to know about a build tool, one function for each.

  Each takes an attribute set, which may say where things are (`paths`, the files and directories to
  keep), and returns plain settings: change them with `//`. Which cases each was measured on stands in
  `docs/incremental-jobs.md`. A tool that is not here was not found both right and faster.

  # Type

  ```
  settings :: { ${tool} :: AttrSet -> AttrSet; }
  ```

  # Example

  ```nix
  levain.lib.settings.make { paths = [ "build" ]; } // { budget = 1000000000; }
  ```
*/
{
  cargo = import ./cargo.nix;
  cmake = import ./cmake.nix;
  dune = import ./dune.nix;
  ghc = import ./ghc.nix;
  go = import ./go.nix;
  make = import ./make.nix;
  meson = import ./meson.nix;
  ninja = import ./ninja.nix;
  tsc = import ./tsc.nix;
}
