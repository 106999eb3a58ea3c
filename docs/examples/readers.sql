-- Readers :first to :last get a subject line; 20 % open the warm one, 8 % any other.
WITH asked AS (
    SELECT unit, assign_variant('subject-line', unit) AS line
    FROM (SELECT 'reader-' || n AS unit FROM generate_series(:first, :last) AS n) AS letters
)
SELECT count(track_event('subject-line', unit, 'open')) AS opened FROM asked
WHERE bucket('opens', unit) < CASE line WHEN 'warm' THEN 0.20 ELSE 0.08 END;
