# Merging into a recursive set keeps it recursive.
{ a = rec { b = c; c = 1; }; a.d = 2; }
