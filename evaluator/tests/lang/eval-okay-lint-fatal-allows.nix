# set lint-absolute-path-literals fatal
# set lint-short-path-literals fatal
# set lint-url-literals fatal
[ "http://example.com" (builtins.baseNameOf ./a) (builtins.baseNameOf ../b/${"c"}) (4 / 2) (1/ 1) ]
