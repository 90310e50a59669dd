# Every way to write a fixed output's hash leads to the same path, or to that of its mode.
let
  make = attrs: (derivation ({ name = "x"; system = "s"; builder = "b"; } // attrs)).drvPath;
  output = attrs: (derivation ({ name = "x"; system = "s"; builder = "b"; } // attrs)).outPath;
  hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  base32 = "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";
  base64 = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
  sha256 = text: { outputHash = text; outputHashAlgo = "sha256"; };
in
{
  same = builtins.all (attrs: output attrs == output (sha256 hex)) [
    (sha256 base32)
    (sha256 base64)
    (sha256 "sha256-${base64}")
    (sha256 "sha256:${hex}")
    { outputHash = "sha256-${base64}"; }
    { outputHash = "sha256:${base32}"; outputHashMode = "flat"; }
  ];
  derivations = map make [
    (sha256 hex)
    (sha256 base64)
    { outputHash = "sha256-${base64}"; outputHashMode = "recursive"; }
    { outputHash = ""; outputHashAlgo = "sha512"; outputHashMode = "recursive"; }
    { outputHash = ""; outputHashAlgo = "sha1"; }
  ];
}
