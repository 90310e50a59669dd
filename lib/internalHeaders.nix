/*
  Headers, for tools that compile C and the like. A new one is found before another of the same name
  further back in the search path, and no list of dependencies knows of it.
*/
[
  "*.h" "*.H" "*.hh" "*.hpp" "*.hxx" "*.h++" "*.inc" "*.inl" "*.ipp" "*.tcc" "*.def" "*.modulemap"
]
