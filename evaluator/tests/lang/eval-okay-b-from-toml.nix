# TOML: tables, arrays of tables, strings of every kind, numbers.
builtins.fromTOML ''
  title = "x\ty"
  literal = 'C:\n'
  multi = """
  a
    b"""
  n = [ 1, 0x1F, 1_000, -5 ]
  f = [ 1.5, 1e3, -0.0 ]
  t = true
  "quoted key" = 1
  a.b.c = 2
  inline = { x = 1, y.z = 2 }
  [table]
  k = "v"
  [table.sub]
  k = 1
  [[array]]
  i = 1
  [[array]]
  i = 2
  [array.x]
  j = 3
''
