# Bindings see each other, whatever their order; inner ones shadow outer ones.
let a = b + 1; b = 1; c = let a = 10; in a + b; in [ a b c (let inherit a; x.y = 1; x.z = 2; in { inherit a x; }) ]
