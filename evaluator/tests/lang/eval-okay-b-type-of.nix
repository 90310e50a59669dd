# Names of types.
map builtins.typeOf [ 1 1.0 "" /a null true [ ] { } (x: x) builtins.map (derivation { name = "n"; system = "s"; builder = "b"; }) ]
