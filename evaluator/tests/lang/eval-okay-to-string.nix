# What `toString` makes of each type.
[ (toString 1) (toString (-1)) (toString 1.5) (toString true) (toString false) (toString null) (toString "s") (toString /a/b) (toString [ 1 "a" [ 2 null ] true ]) (toString [ ]) (toString { __toString = s: "x${s.y}"; y = "1"; }) (toString { outPath = "o"; }) (toString [ [ ] "a" [ ] ]) ]
