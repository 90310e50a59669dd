# A definition without its end.
{ a = 1 }
