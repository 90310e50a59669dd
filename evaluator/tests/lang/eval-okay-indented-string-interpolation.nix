# Interpolated text keeps its own indentation.
let x = "1\n  2"; in [ ''
    a
    ${x}
      b
  '' ''${x}'' ''
  ${"\n"}  c
'' ]
