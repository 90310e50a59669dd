# Names and values, sorted by name.
[ (builtins.attrNames { b = 1; a = 2; B = 3; "1" = 4; }) (builtins.attrValues { b = 1; a = 2; B = 3; }) (builtins.attrNames { }) ]
