# `with` gives way to `let` and function arguments; inner ones win over outer ones.
let a = 1; in [ (with { a = 2; b = 3; }; a + b) (with { x = 1; }; with { x = 2; y = 3; }; [ x y ]) ((a: with { a = 5; }; a) 7) (with throw "no"; 1) (with { q = 1; }; let q = 2; in q) ]
