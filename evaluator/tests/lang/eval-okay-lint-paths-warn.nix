# set lint-absolute-path-literals warn
# set lint-short-path-literals warn
let
  name = "b";
in
map (path: builtins.baseNameOf (toString path)) [
  /tmp/a
  /tmp/${name}/c
  ./a
  ../${name}
  .a/b
  # Both of these lack a `./`.
  a/b
  _a.b/${name}/c
  # A lint of another sort is not asked for.
  http://example.com
]
