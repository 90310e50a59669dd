{ outputs = _: { levainJobs = [ 1 ]; }; }
