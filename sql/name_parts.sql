-- One row per interaction, with its part: train before the valid cut, valid between the cuts, test after the other.
-- in   after_test(user_id, item_id, rating, event_time, is_after): every row, on its side of the test cut;
--      after_valid(the same): the rows before the test cut, on their side of the valid cut
-- out  user_id, item_id, rating, event_time, part
SELECT user_id, item_id, rating, event_time, 'test' AS part
FROM after_test
WHERE is_after
UNION ALL
SELECT user_id, item_id, rating, event_time, CASE WHEN is_after THEN 'valid' ELSE 'train' END AS part
FROM after_valid
