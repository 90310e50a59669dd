# since 2.20
let
  # Being evaluated while it is shown.
  busy = builtins.trace { inherit busy; } 1;
  named = x: x;
  shared = [ 1 2 3 ];
  known = [
    named
    (x: x)
    ({ a }: a)
    builtins.map
    (builtins.map named)
    {
      a = "quoted \${x}\n";
      "b c" = null;
    }
    shared
    shared
  ];
in
builtins.seq busy (builtins.trace [ (1 + 1) ] (builtins.deepSeq known (builtins.trace known 2)))
