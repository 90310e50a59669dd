/*
  The TypeScript compiler, with `incremental` and a `tsBuildInfoFile` in the directory `out`, which is
  also the `outDir`.

  It never deletes: what it made from a source that is gone is left out.
*/
{ source ? "src", out ? "dist" }:
{
  persist.typescript = [ out ];
  gone = "outputs";
  goneOutputs =
    let
      made = from: to: map (ending: "${source}/{dir}/{stem}${from}=${out}/{dir}/{stem}${ending}") to;
    in
    made ".ts" [ ".js" ".js.map" ".d.ts" ".d.ts.map" ]
    ++ made ".tsx" [ ".js" ".jsx" ".js.map" ".jsx.map" ".d.ts" ".d.ts.map" ]
    ++ made ".mts" [ ".mjs" ".mjs.map" ".d.mts" ".d.mts.map" ]
    ++ made ".cts" [ ".cjs" ".cjs.map" ".d.cts" ".d.cts.map" ]
    ++ made ".json" [ ".json" ];
}
