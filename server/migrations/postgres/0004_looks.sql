-- When a project was looked at last, and why that failed if it did.
ALTER TABLE projects ADD COLUMN looked_at BIGINT;
ALTER TABLE projects ADD COLUMN look_failed TEXT;

-- One run of a project at a time, whichever servers begin them at the same moment.
DROP INDEX runs_running;
CREATE UNIQUE INDEX runs_running ON runs (project) WHERE state = 'running';
