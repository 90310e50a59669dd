-- What signatures call a repository, the same however its address is spelt. Nothing until the database is opened: then
-- repositories of one name become one.
ALTER TABLE repositories ADD COLUMN name TEXT;
CREATE UNIQUE INDEX repositories_by_name ON repositories (name);
