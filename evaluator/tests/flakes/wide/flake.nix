# A set that stands in itself several times has more attributes than anybody can look at.
{
  outputs = { self }:
    let
      wide = { a = wide; b = wide; c = wide; d = wide; };
    in
    {
      levainJobs = {
        inherit wide;
        good = derivation { name = "good"; system = "x86_64-linux"; builder = "/bin/sh"; };
      };
    };
}
