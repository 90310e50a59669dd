# An attribute of a number.
(1).a
