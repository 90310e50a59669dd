# A function needs a colon.
{ a b }: 1
