# Where this is.
let p = __curPos; in [ p.line p.column (builtins.attrNames p) ]
