# A pattern with one argument too many.
({ alpha }: alpha) { alpha = 1; alhpa = 2; }
