-- Where the pull request is opened, decided at the submission: a forge's name ("plain", "github").
-- NULL, of older tasks: as the configuration says when the work is delivered.
ALTER TABLE task ADD COLUMN forge TEXT;
