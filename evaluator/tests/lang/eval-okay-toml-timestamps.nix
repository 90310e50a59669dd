# except 2.26
# since 2.13
# set experimental-features parse-toml-timestamps
builtins.fromTOML ''
  day = 1979-05-27
  time = 07:32:00.1
  both = 1979-05-27 07:32:00.123456789123
  place = 1979-05-27t00:32:00.0001-07:00
  [[list]]
  of = [ 2000-02-29, 23:59:60 ] # a leap day and a leap second
''
