# The place is that of the name, not of the call within `derivation`.
derivation {
  name = "unbuilt";
  system = "x86_64-linux";
}
