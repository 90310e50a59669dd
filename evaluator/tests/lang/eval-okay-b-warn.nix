# Warnings give their second argument.
# since 2.23
builtins.warn "careful" 1
