# A set with `__functor` is a function.
let s = { __functor = self: x: self.y + x; y = 10; }; in [ (s 1) (map s [ 1 2 ]) (builtins.isFunction s) ((s // { y = 20; }) 1) ({ __functor = self: self.g; g = x: y: x * y; } 3 4) ]
