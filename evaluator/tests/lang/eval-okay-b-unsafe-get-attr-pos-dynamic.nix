# A computed name is where its `${` is, and each name of a path where the path begins.
let n = "b"; in map (set: (builtins.unsafeGetAttrPos "b" set).column) [
  { ${n} = 1; }
  { ${"b"} = 1; }
  { "${n}" = 1; }
  { "b" = 1; }
  { a.${n} = 1; }.a
  { ${"a"}.${n}.c = 1; }.a
  { a.c."${n}".b = 1; }.a.c.b
]
