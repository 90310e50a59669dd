/*
  Types of settings, for `mkProject`. Each takes the name of a setting and its value, and returns
  the value or throws an error that names the setting.
*/
let
  inherit (builtins)
    all attrNames concatStringsSep elem filter head isBool isInt isList isString length mapAttrs
    typeOf;

  kinds = {
    bool = "a boolean";
    float = "a number with a fraction";
    int = "an integer";
    lambda = "a function";
    list = "a list";
    null = "null";
    path = "a path";
    set = "an attribute set";
    string = "a string";
  };

  # What a value is, in a sentence.
  kindOf = value: kinds.${typeOf value};

  expected = what: name: value: throw "${name}: expected ${what}, found ${kindOf value}";

  quoted = names: concatStringsSep ", " (map (name: "`${name}`") names);
in
{
  inherit expected kindOf;

  bool = name: value: if isBool value then value else expected "a boolean" name value;

  string = name: value: if isString value then value else expected "a string" name value;

  # A whole number that is not negative.
  integer = name: value:
    if !isInt value then expected "an integer" name value
    else if value < 0 then throw "${name}: expected an integer of at least 0, found ${toString value}"
    else value;

  strings = name: value:
    if isList value && all isString value then value
    else if isList value then
      throw "${name}: expected a list of strings, found ${kindOf (head (filter (v: !isString v) value))} in it"
    else expected "a list of strings" name value;

  oneOf = words: name: value:
    if elem value words then value
    else if isString value then throw "${name}: expected one of ${quoted words}, found `${value}`"
    else expected "one of ${quoted words}" name value;

  # An attribute set with any names, whose values have one type.
  attrsOf = type: name: value:
    if typeOf value == "set" then mapAttrs (key: type "${name}.${key}") value
    else expected "an attribute set" name value;

  # An attribute set: types by name, of which some must be given.
  settings = { types, required ? [ ] }: name: value:
    let
      unknown = filter (key: !(types ? ${key})) (attrNames value);
      missing = filter (key: !(value ? ${key})) required;
    in
    if typeOf value != "set" then expected "an attribute set" name value
    else if length unknown > 0 then
      throw "${name}.${head unknown}: unknown key, expected one of ${quoted (attrNames types)}"
    else if length missing > 0 then throw "${name}.${head missing}: missing, and it has no default"
    else mapAttrs (key: type: type "${name}.${key}" value.${key}) (builtins.intersectAttrs value types);
}
