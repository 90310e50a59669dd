/*
  make, with or without `configure`.

  make does not see that a Makefile has changed, nor what a `configure` writes from, such as a file
  with the version. And what was made from a source that is gone would still be taken by a wildcard,
  or stay in an archive of `ar`.
*/
{ paths ? [ "." ] }:
{
  persist.build = paths;
  definitions = [
    "Makefile*" "makefile" "GNUmakefile" "*.mk" "*.mak" "*.make" "Make.*" "make.*" "Kbuild*"
    "configure*" "config.*" "*.in" "*.am" "*.ac" "*.m4" "VERSION*" "version*" ".version" ".tarball-version"
  ];
  gone = "drop";
  hiding = import ../internalHeaders.nix;
}
