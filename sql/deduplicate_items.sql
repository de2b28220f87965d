-- One row per item_id of the metadata: which of its rows stands for it.
-- in   items(item_id, title, description, brand, category, image_url, price, tie_break, source_row)
-- out  item_id, source_row
-- ties the row with the most filled fields, then the lowest by title, description, brand, category, image_url, price,
--      tie_break (every other column as text), a missing value last: the order of the rows in the files plays no part,
--      for rows that still tie are the same in every column
WITH counted AS (
  SELECT
    i.*,
    CASE WHEN title IS NULL THEN 0 ELSE 1 END
    + CASE WHEN description IS NULL THEN 0 ELSE 1 END
    + CASE WHEN brand IS NULL THEN 0 ELSE 1 END
    + CASE WHEN category IS NULL THEN 0 ELSE 1 END
    + CASE WHEN image_url IS NULL THEN 0 ELSE 1 END
    + CASE WHEN price IS NULL THEN 0 ELSE 1 END AS n_filled
  FROM items AS i
),
ranked AS (
  SELECT
    item_id,
    source_row,
    ROW_NUMBER() OVER (
      PARTITION BY item_id
      ORDER BY
        n_filled DESC,
        title NULLS LAST,
        description NULLS LAST,
        brand NULLS LAST,
        category NULLS LAST,
        image_url NULLS LAST,
        price NULLS LAST,
        tie_break NULLS LAST,
        source_row
    ) AS choice
  FROM counted
)
SELECT item_id, source_row
FROM ranked
WHERE choice = 1
