# since 2.23
[
  (builtins.warn "first\nsecond" 1)
  (builtins.warn "\nbelow\nthe label" 2)
]
