# A missing argument may be there under a wrong name.
({ name, version }: name) { name = "x"; versoin = "1"; }
