[ x (builtins.isAttrs builtins || true) ]
