{ outputs = _: { levainJobs = { }; }; }
