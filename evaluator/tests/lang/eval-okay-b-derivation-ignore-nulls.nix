# `__ignoreNulls` leaves out what is null.
let d = extra: (derivation ({ name = "n"; system = "s"; builder = "/b"; } // extra)).drvPath; in [ (d { __ignoreNulls = true; x = null; } == d { __ignoreNulls = true; }) (d { x = null; } == d { }) (d { __ignoreNulls = true; x = null; }) ]
