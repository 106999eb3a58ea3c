-- name: insert_key
-- A key, of which only the hash is kept; no row where the name is taken.
INSERT INTO api_key
    (name, key_hash, key_prefix, scopes, organization, requests_per_minute, created_by, created_at,
     expires_at)
VALUES
    (:name, :key_hash, :key_prefix, :scopes, :organization, :requests_per_minute, :created_by,
     headway.clock_now(),
     headway.clock_now() + make_interval(days => CAST(:days AS integer)))
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: list_keys
-- Every key, the newest first, and whether it opens anything now.
SELECT id, name, key_prefix, scopes, organization, requests_per_minute, created_by, created_at,
       expires_at, revoked_at,
       revoked_at IS NULL AND coalesce(expires_at > headway.clock_now(), true) AS is_valid
FROM api_key
ORDER BY id DESC;

-- name: revoke_key
-- A key that was revoked before stays revoked since then.
UPDATE api_key SET revoked_at = coalesce(revoked_at, headway.clock_now())
WHERE name = :name
RETURNING id;

-- name: find_key
-- The key with this hash, if it is valid now.
SELECT id, key_hash, scopes, organization, requests_per_minute
FROM api_key
WHERE key_hash = :key_hash
    AND revoked_at IS NULL
    AND coalesce(expires_at > headway.clock_now(), true);
