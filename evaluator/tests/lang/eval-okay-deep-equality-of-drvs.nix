# Sets with `type = "derivation"` compare by `outPath` alone.
let a = derivation { name = "n"; system = "s"; builder = "b"; }; in [ (a == a // { extra = throw "no"; }) (a == { }) ]
