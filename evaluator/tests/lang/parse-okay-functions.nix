# Patterns.
with { };
[ (a: b) ({ a, b ? c, ... }: d) (x@{ ... }: x) ({ b, a }@y: y) ({ }: z) ]
