-- One row per interaction: whether it lies among its user's n latest pairs.
-- in   interactions(user_id, item_id, rating, event_time), params(n)
-- out  user_id, item_id, rating, event_time, is_after
-- cut  a place in the order (event_time ascending, item_id descending) of the user's rows: that of the latest row of
--      the n-th latest pair. So exactly n pairs lie after it (all of them, for a user with fewer)
-- ties pairs of equal latest time: the lower item_id counts as later
WITH pairs AS (
  SELECT user_id, item_id, MAX(event_time) AS latest_time
  FROM interactions
  GROUP BY user_id, item_id
),
numbered AS (
  SELECT
    user_id,
    item_id,
    latest_time,
    ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY latest_time DESC, item_id) AS place,
    COUNT(*) OVER (PARTITION BY user_id) AS total
  FROM pairs
),
cut AS (
  SELECT n.user_id, n.item_id AS cut_item, n.latest_time AS cut_time
  FROM numbered AS n
  CROSS JOIN params AS p
  WHERE n.place = p.n OR (n.place = n.total AND n.total < p.n)
)
SELECT
  i.user_id,
  i.item_id,
  i.rating,
  i.event_time,
  i.event_time > c.cut_time OR (i.event_time = c.cut_time AND i.item_id <= c.cut_item) AS is_after
FROM interactions AS i
JOIN cut AS c ON c.user_id = i.user_id
