# Application, selection, negation.
with { };
f (-x) y.z or w (g a).b ? c.d
