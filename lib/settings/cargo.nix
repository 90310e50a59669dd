/*
  cargo. Crates that did not change are not compiled; those that did are compiled whole, so that the
  result is that of a clean build byte for byte.
*/
{ paths ? [ "target" ] }:
{
  persist.target = paths;
  variables.CARGO_INCREMENTAL = "0";
}
