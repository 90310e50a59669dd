# A pattern without one of its arguments.
({ a, b }: a) { a = 1; }
