# Indentation is removed, escapes are written with two quotes.
[
  ''a''
  ''
    x
      y
    z
  ''
  ''
    a ''${b} ''' ''\n ''\t $$ ''$ ''\x
  ''
  ''

    blank first line

  ''
  ''	tab
	  x''
  ''  one line  ''
  ''
    ${"interpolated"}
      text
  ''
  ''
      ${"a"}
    b''
  ''
''
  ''''
  ''   ''
  ''x
   y
  z''
]
