# What follows a number must make sense.
let a = 1; in 1a.b = 2
