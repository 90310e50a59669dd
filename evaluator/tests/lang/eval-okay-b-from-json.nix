# JSON of every kind.
map builtins.fromJSON [ "1" "1.5" "1e3" "-0" "\"a\\u00e9\\n\"" "[1,[],{}]" "{\"b\":1,\"a\":null}" "true" " [ 1 , 2 ] " "1E-2" "\"\\ud83d\\ude00\"" "9223372036854775807" "{\"a\":1,\"a\":2}" ]
