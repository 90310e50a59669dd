# Defaults are lazy and may refer to later arguments.
({ a ? b, b ? 2, c ? throw "no" }: [ a b ]) { }
