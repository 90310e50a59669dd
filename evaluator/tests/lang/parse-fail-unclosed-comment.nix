# A comment without an end.
1 /* never closed
