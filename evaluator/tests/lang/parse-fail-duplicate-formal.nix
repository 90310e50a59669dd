# An argument twice.
{ a, a }: a
