# Returns a text as it is if it is UTF-8, else with U+FFFD for everything that is not ASCII.
#
# Strings in Nix are bytes, and newer versions refuse to print others as JSON: one such name would
# hide all jobs. There is no builtin that tells, so this looks at the bytes, by comparing them with
# those of characters that JSON can write.
let
  inherit (builtins)
    concatStringsSep elemAt foldl' fromJSON genList head length replaceStrings stringLength
    substring tail;

  # The byte at `index` of the character that JSON calls `name`.
  byte = name: index: substring index 1 (fromJSON "\"${name}\"");
  range = first: last: { inherit first last; };
  within = range: byte: !(byte < range.first) && !(range.last < byte);

  low = byte "\\u0080" 1;
  high = byte "\\u00bf" 1;
  any = range low high;

  # How a character may begin, and the bytes that have to follow.
  beginnings = [
    { first = range (byte "\\u0080" 0) (byte "\\u07ff" 0); rest = [ any ]; }
    { first = range (byte "\\u0800" 0) (byte "\\u0800" 0); rest = [ (range (byte "\\u0800" 1) high) any ]; }
    { first = range (byte "\\u1000" 0) (byte "\\ucfff" 0); rest = [ any any ]; }
    { first = range (byte "\\ud7ff" 0) (byte "\\ud7ff" 0); rest = [ (range low (byte "\\ud7ff" 1)) any ]; }
    { first = range (byte "\\ue000" 0) (byte "\\uffff" 0); rest = [ any any ]; }
    { first = range (byte "\\ud800\\udc00" 0) (byte "\\ud800\\udc00" 0); rest = [ (range (byte "\\ud800\\udc00" 1) high) any any ]; }
    { first = range (byte "\\ud8c0\\udc00" 0) (byte "\\udbbf\\udfff" 0); rest = [ any any any ]; }
    { first = range (byte "\\udbff\\udfff" 0) (byte "\\udbff\\udfff" 0); rest = [ (range low (byte "\\udbff\\udfff" 1)) any any ]; }
  ];

  bytesOf = text: genList (index: substring index 1 text) (stringLength text);
  isAscii = byte: byte < low;

  begin = byte:
    let
      fitting = builtins.filter (beginning: within beginning.first byte) beginnings;
    in
    if isAscii byte then [ ]
    else if fitting == [ ] then null
    else (head fitting).rest;

  # What has to follow; null once something was wrong.
  next = expected: byte:
    if expected == null then null
    else if expected == [ ] then begin byte
    else if within (head expected) byte then tail expected
    else null;

  # Most names are plain, and this is quick.
  printable = bytesOf " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\n\t";
  nothing = map (_: "") printable;
in
text:
let
  bytes = bytesOf text;
in
if replaceStrings printable nothing text == "" || foldl' next [ ] bytes == [ ] then text
else concatStringsSep "" (map (byte: if isAscii byte then byte else fromJSON "\"\\ufffd\"") bytes)
