# nixpkgs' own tests of its library: each either succeeds or shows up in a list.
{ tree, lib }:
let
  library = import (tree + "/lib");
in
{
  misc = import (tree + "/lib/tests/misc.nix");
  systems = import (tree + "/lib/tests/systems.nix");
  fetchers = import (tree + "/lib/tests/fetchers.nix");
  paths = import (tree + "/lib/path/tests/unit.nix") { libpath = tree + "/lib"; };
  # The list of maintainers and the modules of NixOS, which `services/test.nix` needs, are elsewhere.
  names = builtins.mapAttrs (_: v: if builtins.isAttrs v then builtins.attrNames v else builtins.typeOf v)
    (removeAttrs library [ "maintainers" "teams" ]);
  elaborated = map
    (system:
      let e = library.systems.elaborate system; in {
        inherit (e) config system isLinux isDarwin is64bit isLittleEndian libc;
        parsed = library.systems.parse.tripleFromSystem e.parsed;
        emulated = e.canExecute (library.systems.elaborate "x86_64-linux");
      })
    [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" "armv7l-linux" "riscv64-linux" "i686-linux" "wasm32-wasi" ];
  licenses = builtins.mapAttrs (_: l: l.spdxId or null) library.licenses;
}
