# An operand that is no truth value.
true && 1
