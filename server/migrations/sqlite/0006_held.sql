-- A run that is stopped is its holder's until that lets go of it: nobody begins another of the project before.
DROP INDEX runs_running;
CREATE UNIQUE INDEX runs_held ON runs (project) WHERE owner IS NOT NULL;
