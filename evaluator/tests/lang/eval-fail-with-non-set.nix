# `with` a number.
with 1; a
