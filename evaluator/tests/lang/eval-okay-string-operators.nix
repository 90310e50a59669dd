# `+` on strings, paths and what becomes a string.
[ ("a" + "b") (/a + "/b") (/a + /b) (/a + "b") ({ outPath = "p"; } + "q") ("q" + { __toString = s: "t"; }) ("" + "") ]
