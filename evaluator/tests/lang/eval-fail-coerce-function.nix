# A function in a string.
toString (x: x)
