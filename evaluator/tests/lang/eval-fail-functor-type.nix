# A `__functor` that is no function.
{ __functor = 1; } 2
