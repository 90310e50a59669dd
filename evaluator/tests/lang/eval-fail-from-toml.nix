# Text that is no TOML.
builtins.fromTOML "a = "
