# Names and versions.
map builtins.parseDrvName [ "hello-2.10" "a-b-1.2-x" "nover" "x-1" "x-y" "-1" "a--1" "gcc-4.6.3-wrapper" "" "a-1-2" ]
