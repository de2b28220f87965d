-- One row per item that anyone liked: how many users did.
-- in   history(user_id, item_id, label), one row per pair
-- out  item_id, n_positives
SELECT item_id, COUNT(*) AS n_positives
FROM history
WHERE label = 1
GROUP BY item_id
