# Definitions, merged and sorted.
with { };
{ b = 1; a.x = 2; inherit c; inherit (d) e f; a.y = rec { z = 3; }; ${g} = 4; "h i" = 5; "" = 6; "1a" = 7; a-' = 8; "if" = b."h i".c or (b ? "in".d); }
