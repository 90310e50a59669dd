# Type tests.
map (v: [ (builtins.isAttrs v) (builtins.isBool v) (builtins.isFloat v) (builtins.isFunction v) (builtins.isInt v) (builtins.isList v) (isNull v) (builtins.isPath v) (builtins.isString v) (builtins.typeOf v) ]) [ { } true 1.0 (x: x) 1 [ ] null /a "" map ]
