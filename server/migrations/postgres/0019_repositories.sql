-- A repository that took over the name of a project's. `projects.repository` is what the project's forge numbered it when it
-- was seen first, whether or not an App looks after it.
-- The number of what is found under the project's address, if that is another one: nothing is built until somebody says
-- that it is to be the project's.
ALTER TABLE projects ADD COLUMN other_repository BIGINT;
