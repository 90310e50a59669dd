# A name twice, once through a path.
{ a.b = 1; a = { b = 2; }; }
