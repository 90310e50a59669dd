-- What a server needs to carry out runs, and what it keeps of them.
-- The file with the token for the forge.
ALTER TABLE projects ADD COLUMN token_file TEXT;
-- Which pull requests are built: `none`, `own` (of the same repository), or `all`.
ALTER TABLE projects ADD COLUMN pull_requests TEXT NOT NULL DEFAULT 'own'
    CHECK (pull_requests IN ('none', 'own', 'all'));
-- How often the heads were noted: whoever looked meanwhile looked too early.
ALTER TABLE projects ADD COLUMN heads_noted INTEGER NOT NULL DEFAULT 0;
-- The report and the notices, as JSON.
ALTER TABLE runs ADD COLUMN report TEXT;
ALTER TABLE runs ADD COLUMN notices TEXT;

-- What is known about the server itself.
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
