# A path with an empty part.
/a//b
