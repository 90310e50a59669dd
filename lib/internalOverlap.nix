/*
  The paths of sets that lie in a path of another set: `{ inner, of, outer, by }`. What is dropped with
  the one set would come back with the other. A path that the outer set excludes does not count.
*/
sets:
let
  inherit (builtins)
    attrNames concatMap concatStringsSep elem filter isString map split stringLength substring;

  # `./build/` and `build` are the same.
  plain = path:
    concatStringsSep "/" (filter (part: isString part && part != "" && part != ".") (split "/" path));

  lies = inner: outer:
    outer == "" || inner == outer || substring 0 (stringLength outer + 1) inner == "${outer}/";

  between = by: of:
    let excluded = map plain (sets.${by}.exclude or [ ]); in
    concatMap
      (outer:
        map (inner: { inherit inner of outer by; })
          (filter
            (inner: lies (plain inner) (plain outer) && !(elem (plain inner) excluded))
            sets.${of}.paths))
      sets.${by}.paths;
in
concatMap (by: concatMap (of: if of == by then [ ] else between by of) (attrNames sets)) (attrNames sets)
