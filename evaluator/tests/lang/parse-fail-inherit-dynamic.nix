# A computed name to inherit.
let a = 1; in { inherit ${"b" + "c"}; }
