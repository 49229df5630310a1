-- How the environment is set up (--setup; NULL: what is found), and why that failed, if it did.
ALTER TABLE task ADD COLUMN setup_command TEXT;
ALTER TABLE task ADD COLUMN setup_failure TEXT;
