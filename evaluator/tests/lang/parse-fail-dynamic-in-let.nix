# A computed name where none may be.
let ${"a" + "b"} = 1; in 1
