# A context that names no store path.
builtins.appendContext "a" { "not-a-store-path" = { path = true; }; }
