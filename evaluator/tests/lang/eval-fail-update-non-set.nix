# `//` of a list.
{ } // [ ]
