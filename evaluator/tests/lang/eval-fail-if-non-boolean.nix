# A condition that is none.
if 1 then 2 else 3
