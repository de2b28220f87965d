-- One row per (user_id, item_id): all that was known of the pair before a cut.
-- in   labelled(user_id, item_id, rating, event_time, label, part), repeats(the same), params(before)
-- out  user_id, item_id, rating, event_time, label
-- note before the valid cut: the train rows. Before the test cut: train and valid rows, a pair that was repeated
--      between the cuts with its later row
WITH later AS (
  SELECT r.user_id, r.item_id, r.rating, r.event_time, r.label
  FROM repeats AS r
  CROSS JOIN params AS p
  WHERE p.before = 'test' AND r.part = 'valid'
),
first_rows AS (
  SELECT l.user_id, l.item_id, l.rating, l.event_time, l.label
  FROM labelled AS l
  CROSS JOIN params AS p
  WHERE l.part = 'train' OR (p.before = 'test' AND l.part = 'valid')
)
SELECT f.user_id, f.item_id, f.rating, f.event_time, f.label
FROM first_rows AS f
WHERE NOT EXISTS (SELECT 1 FROM later AS r WHERE r.user_id = f.user_id AND r.item_id = f.item_id)
UNION ALL
SELECT user_id, item_id, rating, event_time, label
FROM later
