# Bindings without a body.
let a = 1;
