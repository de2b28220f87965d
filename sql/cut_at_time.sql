-- One row per interaction: on which side of one cut for all users it lies.
-- in   interactions(user_id, item_id, rating, event_time), params(cut_time)
-- out  user_id, item_id, rating, event_time, is_after
-- ties a row at the very time of the cut lies after it
SELECT i.user_id, i.item_id, i.rating, i.event_time, i.event_time >= p.cut_time AS is_after
FROM interactions AS i
CROSS JOIN params AS p
