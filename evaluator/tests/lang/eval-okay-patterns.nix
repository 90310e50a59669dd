# Function patterns: defaults, ellipsis, and a name for the whole.
let f = { a, b ? a + 1, ... }@all: [ a b (builtins.attrNames all) ]; g = all@{ x ? 1, y ? x }: [ x y all ]; in [ (f { a = 1; }) (f { a = 1; b = 5; c = 9; }) (g { }) (g { x = 2; }) (({ }: 1) { }) (({ ... }: 2) { z = 1; }) (({ a, }: a) { a = 3; }) ]
