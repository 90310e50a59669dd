-- One run of a jobset at a time, whichever servers begin them at the same moment; others of its project go on beside it.
DROP INDEX runs_held;
CREATE UNIQUE INDEX runs_held ON runs (project, jobset) WHERE owner IS NOT NULL;
