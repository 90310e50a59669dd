-- How often something that was away kept a run from being carried out, and when it is tried again; its summary has the
-- reason. And who held it and was not heard of in time: each as `<OWNER>`, until they are heard of after all.
ALTER TABLE runs ADD COLUMN put_off BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN put_off_until BIGINT;
ALTER TABLE runs ADD COLUMN lost_by TEXT;
