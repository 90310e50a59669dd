{ numbers = [ (import ./number.nix) ]; }
