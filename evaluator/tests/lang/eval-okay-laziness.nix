# What nobody asks for is not evaluated.
let x = throw "no"; s = { a = x; b = 1; }; l = [ x 2 ]; in [ s.b (builtins.elemAt l 1) (builtins.length l) (builtins.attrNames s) ((_: 1) x) (s ? a) (let y = x; in 5) ]
