let
  or = 1;
in
[
  # Where this is one element, it would be two without the old rule.
  (builtins.length [ (x: x) or ])
  ({ a = 2; }.a or (x: x) or)
  # These have one meaning.
  ((x: x + 1) or)
  ({ }.a or 3)
]
