# A dollar outside of a string.
$ x
