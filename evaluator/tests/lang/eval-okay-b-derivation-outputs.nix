# Several outputs: each is the derivation with another output selected.
let d = derivation { name = "n"; system = "s"; builder = "/b"; outputs = [ "out" "dev" "doc" ]; }; in [ d.outPath d.dev.outPath d.doc.outPath d.dev.outputName (map (o: o.outputName) d.all) (d.dev.drvPath == d.drvPath) d.outputs ]
