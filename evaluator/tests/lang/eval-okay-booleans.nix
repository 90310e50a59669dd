# Logical operators do not evaluate what they do not need.
[ (false && throw "no") (true || throw "no") (false -> throw "no") (true -> false) (! true) (! false && true) (true && ! false || throw "no") (false -> true -> false) ]
