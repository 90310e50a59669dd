# The old form of `let` whose result is `body`.
let { x = 1; y = x + 1; body = [ x y ]; }
