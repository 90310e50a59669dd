# Everything that binds is shown in parentheses.
with { };
a + b * c - d / e == f && g || ! h -> i // j ++ k ++ l // m
