-- No number of these is ever given out twice, not even that of the newest once it is removed: people write numbers of
-- runs and deliveries down, and what is known of a person and a project is known by their numbers.
--
-- SQLite has AUTOINCREMENT for this, and no statement that adds it. Where only the text of a schema changes and nothing
-- of what is stored, SQLite documents this way (https://www.sqlite.org/lang_altertable.html, "Making Other Kinds Of Table
-- Schema Changes"): nothing is copied, however many rows there are. The table that is made and dropped has SQLite make the
-- one that AUTOINCREMENT needs, and tells other connections that the schema changed.
CREATE TABLE numbers (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;
DROP TABLE numbers;
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, 'id INTEGER PRIMARY KEY,', 'id INTEGER PRIMARY KEY AUTOINCREMENT,')
WHERE type = 'table' AND name IN ('projects', 'runs', 'deliveries', 'people');
PRAGMA writable_schema = RESET;
-- What is stored stays; so does the highest number that was given out, as far as anybody knows.
INSERT INTO sqlite_sequence (name, seq) SELECT 'projects', max(id) FROM projects HAVING count(*) > 0;
INSERT INTO sqlite_sequence (name, seq) SELECT 'runs', max(id) FROM runs HAVING count(*) > 0;
INSERT INTO sqlite_sequence (name, seq) SELECT 'deliveries', max(id) FROM deliveries HAVING count(*) > 0;
INSERT INTO sqlite_sequence (name, seq) SELECT 'people', max(id) FROM people HAVING count(*) > 0;
