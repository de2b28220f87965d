-- The pairs of users with at least min_user pairs and items with at least min_item, counted on the input rows.
-- in   pairs(user_id, item_id, rating, event_time, label, part), params(min_user, min_item)
-- out  the same columns, fewer rows
-- note run it until no row goes and what stays is the k-core
WITH counted AS (
  SELECT i.*, COUNT(*) OVER (PARTITION BY user_id) AS of_user, COUNT(*) OVER (PARTITION BY item_id) AS of_item
  FROM pairs AS i
)
SELECT c.user_id, c.item_id, c.rating, c.event_time, c.label, c.part
FROM counted AS c
CROSS JOIN params AS p
WHERE c.of_user >= p.min_user AND c.of_item >= p.min_item
