-- One row per interaction: on which side of one cut for all users it lies.
-- in   interactions(user_id, item_id, rating, event_time), params(keep)
-- out  user_id, item_id, rating, event_time, is_after
-- cut  the event_time at index FLOOR((n - 1) * keep), counted from 0, of all times in order
-- ties a row at the very time of the cut lies after it
WITH numbered AS (
  SELECT event_time, ROW_NUMBER() OVER (ORDER BY event_time) AS place, COUNT(*) OVER () AS total
  FROM interactions
),
cut AS (
  SELECT MIN(n.event_time) AS cut_time
  FROM numbered AS n
  CROSS JOIN params AS p
  WHERE n.place > FLOOR((n.total - 1) * p.keep)
)
SELECT i.user_id, i.item_id, i.rating, i.event_time, i.event_time >= c.cut_time AS is_after
FROM interactions AS i
CROSS JOIN cut AS c
