-- One row per input row, with its label: 1 liked, 0 not.
-- in   pairs(user_id, item_id, rating, event_time, part, is_repeat), params(min_rating)
-- out  the same, and label
-- null a missing rating is implicit feedback and counts as 1
SELECT
  i.user_id,
  i.item_id,
  i.rating,
  i.event_time,
  CAST(CASE WHEN i.rating IS NULL OR i.rating >= p.min_rating THEN 1 ELSE 0 END AS TINYINT) AS label,
  i.part,
  i.is_repeat
FROM pairs AS i
CROSS JOIN params AS p
