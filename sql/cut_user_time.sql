-- One row per interaction: on which side of its user's own cut it lies.
-- in   interactions(user_id, item_id, rating, event_time), params(keep)
-- out  user_id, item_id, rating, event_time, is_after
-- cut  the event_time at index FLOOR((n - 1) * keep), counted from 0, of the user's times in order
-- ties a row at the very time of the cut lies after it
WITH numbered AS (
  SELECT
    user_id,
    event_time,
    ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY event_time) AS place,
    COUNT(*) OVER (PARTITION BY user_id) AS total
  FROM interactions
),
cut AS (
  SELECT n.user_id, MIN(n.event_time) AS cut_time
  FROM numbered AS n
  CROSS JOIN params AS p
  WHERE n.place > FLOOR((n.total - 1) * p.keep)
  GROUP BY n.user_id
)
SELECT i.user_id, i.item_id, i.rating, i.event_time, i.event_time >= c.cut_time AS is_after
FROM interactions AS i
JOIN cut AS c ON c.user_id = i.user_id
