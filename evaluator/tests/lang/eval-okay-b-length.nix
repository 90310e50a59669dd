# Lengths, of strings in bytes.
[ (builtins.length [ 1 2 ]) (builtins.stringLength "abc") (builtins.stringLength "é") (builtins.stringLength "") ]
