-- A task whose base commit came along with it: the commit that the repository has, and that builds on.
ALTER TABLE task ADD COLUMN base_known TEXT;
