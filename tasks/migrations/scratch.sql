-- name: server_epoch
-- Seconds of the server's clock, which a sweep compares with.
SELECT extract(epoch FROM clock_timestamp())::bigint;

-- name: hold_scratch
-- Show, as long as this session lives, that the database is in use.
SELECT set_config('application_name', :name, false);

-- name: wait_as_long_as_it_takes
-- A copy may take longer than the role's own settings allow its sessions.
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_session_timeout', 'transaction_timeout');

-- name: own_role
-- As whom we are connected.
SELECT current_user;

-- name: own_database
-- Locale and settings of this database: revisions may depend on them (search_path, TimeZone).
SELECT to_jsonb(d) || jsonb_build_object('encoding_name', pg_encoding_to_char(d.encoding))
           AS database,
       ARRAY(SELECT quote_ident(known.name) || ' = '
                    || CASE WHEN known.name IN ('search_path', 'temp_tablespaces')
                            THEN split_part(entry, '=', 2)
                            ELSE quote_literal(substr(entry, strpos(entry, '=') + 1)) END
             FROM pg_db_role_setting AS s
             CROSS JOIN unnest(s.setconfig) AS entry
             JOIN pg_settings AS known ON known.name = split_part(entry, '=', 1)
             WHERE s.setdatabase = d.oid AND s.setrole = 0 AND known.context = 'user'
               AND known.name NOT IN ('default_transaction_read_only', 'application_name'))
           AS settings
FROM pg_database AS d
WHERE d.datname = current_database();

-- name: abandoned
-- Scratch databases that are old enough and whose maker, and everybody else, is gone.
SELECT datname
FROM pg_database
WHERE datname ~ '^headway_scratch_[0-9]+_[0-9a-f]+$'
  AND split_part(datname, '_', 3)::bigint
      <= extract(epoch FROM clock_timestamp()) - CAST(:age AS double precision)
  AND NOT EXISTS (
      SELECT FROM pg_stat_activity AS a
      WHERE a.datname = pg_database.datname OR a.application_name = pg_database.datname)
ORDER BY datname;
