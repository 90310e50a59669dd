derivation { name = "x"; system = "s"; builder = "b"; outputHash = "00000000000000000000000000000000"; outputHashAlgo = "md5"; outputHashMode = "whole"; }
