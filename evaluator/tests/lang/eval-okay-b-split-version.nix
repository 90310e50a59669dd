# Versions in components.
map builtins.splitVersion [ "1.2.3" "1.2pre3" "a-b" "" "1..2" "2.3-rc1" "00a1" ]
