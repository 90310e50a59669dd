# Turns a value into text: everything forced, strings with their contexts.
let
  b = builtins;
  text = s: b.toJSON (b.unsafeDiscardStringContext s)
    + (if b.hasContext s then "@" + b.toJSON (b.getContext s) else "");
  show = depth: v:
    let type = b.typeOf v; in
    if depth == 0 then "..."
    else if type == "string" then text v
    else if type == "path" then "path " + toString v
    else if type == "lambda" then "lambda " + b.toJSON (b.functionArgs v)
    # JSON shows floats in another way in every few versions.
    else if type == "float" then toString v + " " + toString (v * 1000000.0)
    else if type == "list" then "[" + b.concatStringsSep " " (map (show (depth - 1)) v) + "]"
    else if type != "set" then b.toJSON v
    # Each version has other builtins, and the sets of them contain themselves.
    else if v ? langVersion then "builtins"
    else if v.type or null == "derivation" then "derivation " + text v.drvPath
    else "{" + b.concatStringsSep " " (b.attrValues (b.mapAttrs (n: x: b.toJSON n + "=" + show (depth - 1) x) v)) + "}";
in
v: b.unsafeDiscardStringContext ("@V@" + show 8 v)
