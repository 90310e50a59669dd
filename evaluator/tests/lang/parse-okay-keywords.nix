# Everything with a keyword.
with { };
let a = if b then c else d; in with e; assert f; rec { g = h; }
