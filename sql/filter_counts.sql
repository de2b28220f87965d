-- The pairs of users with at least min_user pairs and items with at least min_item, counted on the input rows.
-- in   pairs(user_id, item_id), params(min_user, min_item)
-- out  the same columns, fewer rows
-- note run it until no row goes and what stays is the k-core
WITH of_user AS (
  SELECT user_id, COUNT(*) AS n_pairs
  FROM pairs
  GROUP BY user_id
),
of_item AS (
  SELECT item_id, COUNT(*) AS n_pairs
  FROM pairs
  GROUP BY item_id
)
SELECT c.user_id, c.item_id
FROM pairs AS c
JOIN of_user AS u ON u.user_id = c.user_id
JOIN of_item AS i ON i.item_id = c.item_id
CROSS JOIN params AS p
WHERE u.n_pairs >= p.min_user AND i.n_pairs >= p.min_item
