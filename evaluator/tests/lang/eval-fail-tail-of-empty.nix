# The rest of nothing.
builtins.tail [ ]
