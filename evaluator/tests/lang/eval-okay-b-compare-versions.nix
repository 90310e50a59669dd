# Versions, component by component.
map (p: builtins.compareVersions (builtins.elemAt p 0) (builtins.elemAt p 1)) [ [ "1.0" "1.0" ] [ "1.0" "1.1" ] [ "1.10" "1.9" ] [ "1.0pre1" "1.0" ] [ "1.0" "1.0a" ] [ "2.3" "2.3pre" ] [ "1-2" "1.2" ] [ "a" "1" ] [ "" "1" ] [ "1.0.0" "1.0" ] [ "1.pre" "1.a" ] [ "007" "7" ] ]
