# A name that nothing binds.
let value = 1; in vaule
