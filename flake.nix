{
  description = "Continuous integration for Nix flakes, incremental and pure";

  # No inputs: whoever uses the library locks nothing else.
  outputs = _: {
    lib = import ./lib;
  };
}
