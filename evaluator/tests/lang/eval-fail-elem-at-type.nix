# An index that is no number.
builtins.elemAt [ 1 ] "0"
