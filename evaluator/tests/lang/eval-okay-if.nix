# Conditions evaluate one branch.
[ (if true then 1 else throw "no") (if 1 < 2 then if false then 1 else 2 else 3) ((if true then x: x + 1 else x: x) 1) ]
