-- One row per item of the catalogue: the ids of the metadata and of the interactions.
-- in   items(item_id, ...): one row per item, interactions(item_id, ...)
-- out  item_id
SELECT item_id FROM items
UNION
SELECT item_id FROM interactions
