# Path literals are made canonical.
[ /a /a/b/../c /a/./b (toString /a/b) (builtins.typeOf /a) /a.b/c-d_e+f (baseNameOf /a/b) (dirOf /a/b) (toString (/a/b + "/../c")) ]
