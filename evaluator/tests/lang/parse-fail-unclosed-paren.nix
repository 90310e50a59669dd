# A parenthesis without an end.
(1 + 2
