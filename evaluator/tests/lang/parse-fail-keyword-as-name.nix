# A keyword is no variable.
let if = 1; in 1
