# What refers to an overridden attribute sees the new value, even if the old one was looked at before.
rec {
  a = { x = 1; };
  __overrides = builtins.seq a.x { a = { x = 2; }; b = a.x; c = [ a.x ]; };
  d = a.x;
}
