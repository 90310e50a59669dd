# What follows `?` is no expression, so it chains, unlike comparisons.
with { };
[ (a ? b ? c.d ? ${e}) (! a ? b ? c) (- a ? b ? c) (f a ? "g h" ? i ++ j ? k ? l == m ? n) ]
