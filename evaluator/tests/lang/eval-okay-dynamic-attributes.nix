# Computed names; `null` leaves the attribute out.
let n = "x"; m = null; in [ { ${n} = 1; "${n}y" = 2; ${"a" + "b"} = 3; } { ${m} = 1; } { a.${n}.b = 1; } { "${"lit"}" = 1; } ({ x = 5; }.${n}) ({ x.y = 6; }."${n}".y) ]
