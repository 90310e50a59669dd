# `inherit` of what a set does not have.
let inherit ({ a = 1; }) b; in b
