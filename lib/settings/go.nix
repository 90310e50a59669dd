/*
  Go, which goes by contents. Its cache is put into the sources' directory, under a name that
  `./...` leaves out. What is missing there is made again, so a budget may leave out single files.
*/
{ cache ? ".go-cache" }:
{
  persist.go = [ cache ];
  overBudget = "prune";
  directories.GOCACHE = cache;
  variables.GOFLAGS = "-trimpath";
}
