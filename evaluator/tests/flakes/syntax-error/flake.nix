{
  outputs = _: {
    levainJobs = ;
  };
}
