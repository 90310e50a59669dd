# Stands for nixpkgs where a library only passes it on: nothing but what overlays add.
{ system ? "none", overlays ? [ ], ... }:
let
  final = builtins.foldl' (before: overlay: before // overlay final before) start overlays;
  start = { inherit system; hello = derivation { name = "hello"; builder = "none"; inherit system; }; appendOverlays = more: import ./. { inherit system; overlays = overlays ++ more; }; extend = overlay: final.appendOverlays [ overlay ]; };
in
final
