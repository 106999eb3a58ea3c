-- A file of 8,000 visitors and their visits; the arms are those that assign_variant would give.
WITH visitor AS (
    SELECT unit, now() - interval '21 days' + n * interval '75 seconds' AS came_at,
           CASE WHEN bucket('experiment:new-home', unit) < 0.5 THEN 'old' ELSE 'new' END AS variant,
           CASE WHEN bucket('device', unit) < 0.60 THEN 'phone' WHEN bucket('device', unit) < 0.95 THEN 'desktop' END AS device,
           (ARRAY ['AT', 'CH', 'DE'])[1 + floor(3 * bucket('country', unit))::int] AS country
    FROM generate_series(1, 8000) AS n, LATERAL (SELECT 'visitor-' || n AS unit) AS named
)
SELECT 'assignment' AS kind, unit AS user_id, variant, came_at AS assigned_at, NULL AS event_type, NULL AS event_timestamp,
       jsonb_strip_nulls(jsonb_build_object('device', device, 'country', country)) AS metadata
FROM visitor
UNION ALL
SELECT 'event', unit, NULL, NULL, 'visit', came_at + day * interval '1 day' + interval '1 hour', NULL
FROM visitor, generate_series(0, 13) AS day
WHERE bucket('day ' || day, unit) < 0.3 + CASE WHEN variant = 'new' AND device = 'phone' THEN 0.25 * 0.8 ^ day ELSE 0 END;
