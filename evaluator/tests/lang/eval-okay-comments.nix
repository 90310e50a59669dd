# Comments of both kinds.
/* a */ [ 1 # b
  /* c
  * d **/ 2 /**/ 3 # e
  "# not one" ''/* nor this */'' ]
