# set experimental-features parse-toml-timestamps
builtins.fromTOML "day = 1900-02-29"
