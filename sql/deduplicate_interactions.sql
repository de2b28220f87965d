-- One row per (user_id, item_id, part): the latest of the pair on that side of the cuts, and whether it is a repeat.
-- in   parted(user_id, item_id, rating, event_time, part), part_order(part, place)
-- out  user_id, item_id, rating, event_time, part, is_repeat
-- ties of rows of equal time the higher rating wins, a missing one last
-- note is_repeat: the user had the pair already in an earlier part
WITH ranked AS (
  SELECT
    i.*,
    o.place,
    ROW_NUMBER() OVER (
      PARTITION BY i.user_id, i.item_id, i.part ORDER BY i.event_time DESC, i.rating DESC NULLS LAST
    ) AS recency,
    MIN(o.place) OVER (PARTITION BY i.user_id, i.item_id) AS first_place
  FROM parted AS i
  JOIN part_order AS o ON o.part = i.part
)
SELECT user_id, item_id, rating, event_time, part, first_place < place AS is_repeat
FROM ranked
WHERE recency = 1
