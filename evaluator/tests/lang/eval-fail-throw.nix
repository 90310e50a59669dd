# What the program throws.
throw "this is ${"text"}"
