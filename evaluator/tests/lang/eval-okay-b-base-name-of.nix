# The last part of a path or string.
map baseNameOf [ "a/b" "/a" "a/" "a/b//" "/" "" "a" /x/y ]
