-- Tags that are built, and default branches that are built now and then.
-- Which tags are built: a pattern in which `*` stands for any text; nothing for none.
ALTER TABLE projects ADD COLUMN tags TEXT;
-- 1 once those that were there at first are known: only what comes later is built.
ALTER TABLE projects ADD COLUMN tags_noted BIGINT NOT NULL DEFAULT 0;
-- When the default branch is built anew: `6h`, `1d` or `03:00`; nothing for never. And for which of these times it was
-- last, counted since 1970.
ALTER TABLE projects ADD COLUMN schedule TEXT;
ALTER TABLE projects ADD COLUMN scheduled BIGINT NOT NULL DEFAULT 0;
