# Paths with computed parts.
let x = "b"; in [ /a/${x} /a/${x}c/d /a/${x}/${x}.nix /a/b${x} ]
