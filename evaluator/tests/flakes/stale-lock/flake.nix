{ inputs.dep.url = "git+file:///nowhere"; outputs = { dep, ... }: { levainJobs = { inherit (dep) x; }; }; }
