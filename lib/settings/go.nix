/*
  Go, which goes by contents. Its cache is put into the sources' directory, under a name that
  `./...` leaves out.
*/
{ cache ? ".go-cache" }:
{
  persist.go = [ cache ];
  directories.GOCACHE = cache;
  variables.GOFLAGS = "-trimpath";
}
