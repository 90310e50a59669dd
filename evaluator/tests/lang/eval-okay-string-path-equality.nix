# Strings and paths are different, sets of different size unequal before any value is seen.
[ ("/a" == /a) ({ a = throw "no"; } == { }) ([ (throw "no") ] == [ ]) ]
