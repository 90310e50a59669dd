-- What an App says on commits has room for more than a line, and can be answered there.
-- What is said besides, as JSON.
ALTER TABLE statuses ADD COLUMN details TEXT;
-- The forge's number for what was sent last as a check, and whether that can be updated: it has not ended, and it is the
-- run's that the row is of.
ALTER TABLE statuses ADD COLUMN check_id BIGINT;
ALTER TABLE statuses ADD COLUMN check_open BIGINT NOT NULL DEFAULT 0;

-- A commit can be approved by a button at a check as well. Tables cannot be given another check, so the column is made
-- anew.
ALTER TABLE approvals ADD COLUMN means TEXT NOT NULL DEFAULT 'comment'
    CHECK (means IN ('command', 'comment', 'page', 'token', 'button'));
UPDATE approvals SET means = way;
ALTER TABLE approvals DROP COLUMN way;
ALTER TABLE approvals RENAME COLUMN means TO way;
