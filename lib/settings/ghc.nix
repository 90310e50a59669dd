/*
  GHC by `ghc --make -outputdir`, with modules below the directory `source`. Not cabal, which keeps a
  plan and paths of its own.

  It looks after flags, interfaces and what the preprocessor includes, but not after a header that now
  stands before another of that name. And it never deletes: what was made from a module that is gone
  is left out.
*/
{ source ? ".", out ? "build" }:
{
  persist.build = [ out ];
  hiding = import ../internalHeaders.nix;
  gone = "outputs";
  goneOutputs =
    let
      from = if source == "." then "" else "${source}/";
      made = ending: to: map (name: "${from}{dir}/{stem}${ending}=${out}/{dir}/{stem}${name}") to;
      names = [ ".o" ".hi" ".dyn_o" ".dyn_hi" ".p_o" ".p_hi" "_stub.h" ];
    in
    made ".hs" names
    ++ made ".lhs" names
    ++ made ".hs-boot" [ ".o-boot" ".hi-boot" ".dyn_o-boot" ".dyn_hi-boot" ".p_o-boot" ".p_hi-boot" ]
    ++ made ".lhs-boot" [ ".o-boot" ".hi-boot" ".dyn_o-boot" ".dyn_hi-boot" ".p_o-boot" ".p_hi-boot" ];
}
