# An attribute that is not there.
{ alpha = 1; beta = 2; }.alhpa
