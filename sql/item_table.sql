-- One row per item of the catalogue: the notebook's meta features, as of a cut.
-- in   items(item_id, title, description, brand, category, price), known_items(item_id): those with an interaction
--      before the cut
-- out  item_id, title_len, title_has_digit, description_text_len, is_top20_brand, has_price, is_top9_category_main,
--      brand, category, price
-- null a missing text counts as empty; a missing brand or category is never among the top
-- ties the top brands and categories are those of most known items, the lower name first
WITH known AS (
  SELECT i.brand, i.category
  FROM items AS i
  JOIN known_items AS k ON k.item_id = i.item_id
),
top_brands AS (
  SELECT brand, COUNT(*) AS n_items
  FROM known
  WHERE brand IS NOT NULL
  GROUP BY brand
  ORDER BY n_items DESC, brand
  LIMIT 20
),
top_categories AS (
  SELECT category, COUNT(*) AS n_items
  FROM known
  WHERE category IS NOT NULL
  GROUP BY category
  ORDER BY n_items DESC, category
  LIMIT 9
)
SELECT
  i.item_id,
  CAST(COALESCE(LENGTH(i.title), 0) AS INT) AS title_len,
  CAST(
    CASE
      WHEN i.title LIKE '%0%' OR i.title LIKE '%1%' OR i.title LIKE '%2%' OR i.title LIKE '%3%' OR i.title LIKE '%4%'
        OR i.title LIKE '%5%' OR i.title LIKE '%6%' OR i.title LIKE '%7%' OR i.title LIKE '%8%' OR i.title LIKE '%9%'
        THEN 1
      ELSE 0
    END AS TINYINT
  ) AS title_has_digit,
  CAST(COALESCE(LENGTH(i.description), 0) AS INT) AS description_text_len,
  CAST(CASE WHEN b.n_items IS NULL THEN 0 ELSE 1 END AS TINYINT) AS is_top20_brand,
  CAST(CASE WHEN i.price IS NULL THEN 0 ELSE 1 END AS TINYINT) AS has_price,
  CAST(CASE WHEN c.n_items IS NULL THEN 0 ELSE 1 END AS TINYINT) AS is_top9_category_main,
  i.brand,
  i.category,
  i.price
FROM items AS i
LEFT JOIN top_brands AS b ON b.brand = i.brand
LEFT JOIN top_categories AS c ON c.category = i.category
