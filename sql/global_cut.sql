-- One row: the cut for all users.
-- in   times(event_time, n_rows): each time once, and how many interactions it has; params(keep)
-- out  cut_time, null where there are no interactions
-- cut  the event_time at index FLOOR((n - 1) * keep), counted from 0, of the times of all n interactions in order
WITH counted AS (
  SELECT
    event_time,
    SUM(n_rows) OVER (ORDER BY event_time) AS n_until,
    SUM(n_rows) OVER () AS total
  FROM times
)
SELECT MIN(c.event_time) AS cut_time
FROM counted AS c
CROSS JOIN params AS p
WHERE c.n_until > FLOOR((c.total - 1) * p.keep)
