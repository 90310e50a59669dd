# A derivation: its paths, and what is and is not in its set.
let d = derivation { name = "n"; system = "s"; builder = "/b"; args = [ "a" 1 ]; env = "e"; number = 5; yes = true; no = false; nothing = null; list = [ "x" "y" ]; }; in [ d.drvPath d.outPath d.type d.name d.outputName (builtins.attrNames d) "${d}" (d.all == [ d ]) ]
