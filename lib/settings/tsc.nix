/*
  The TypeScript compiler, with `incremental` and a `tsBuildInfoFile` in the directory `out`, which is
  also the `outDir`.

  `tsconfig.json` must name the `rootDir`: without it, where outputs lie depends on which sources
  there are. It never deletes. What it made from a source that is gone is left out, and after a changed option
  nothing is restored: source maps that are no longer wanted would stay.
*/
{ source ? "src", out ? "dist" }:
{
  persist.typescript = [ out ];
  definitions = [ "tsconfig*.json" "package.json" ];
  gone = "outputs";
  goneOutputs =
    let
      made = from: to: map (ending: "${source}/{dir}/{stem}${from}=${out}/{dir}/{stem}${ending}") to;
    in
    made ".ts" [ ".js" ".js.map" ".d.ts" ".d.ts.map" ]
    ++ made ".tsx" [ ".js" ".jsx" ".js.map" ".jsx.map" ".d.ts" ".d.ts.map" ]
    ++ made ".mts" [ ".mjs" ".mjs.map" ".d.mts" ".d.mts.map" ]
    ++ made ".cts" [ ".cjs" ".cjs.map" ".d.cts" ".d.cts.map" ]
    # With `allowJs`.
    ++ made ".js" [ ".js" ".js.map" ".d.ts" ".d.ts.map" ]
    ++ made ".jsx" [ ".js" ".jsx" ".js.map" ".jsx.map" ".d.ts" ".d.ts.map" ]
    ++ made ".mjs" [ ".mjs" ".mjs.map" ".d.mts" ".d.mts.map" ]
    ++ made ".cjs" [ ".cjs" ".cjs.map" ".d.cts" ".d.cts.map" ]
    ++ made ".json" [ ".json" ];
}
