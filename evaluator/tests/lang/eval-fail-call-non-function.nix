# Something that is no function.
1 2
