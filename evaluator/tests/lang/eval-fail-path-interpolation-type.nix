# A path part that is a number.
/a/${1}
