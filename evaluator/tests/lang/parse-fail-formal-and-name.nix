# An argument with the name of the whole.
a@{ a }: a
