# Minus of a string.
- "a"
