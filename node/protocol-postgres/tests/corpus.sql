# One statement or string of statements a line; judged in database app with the search path "public".
# The fixture of tests/it/differential.rs has what they name.
# --- reading
SELECT 1
SELECT
VALUES (1, 'a'), (2, 'b')
TABLE orders
SELECT * FROM orders
SELECT id, status FROM orders WHERE total > 10
SELECT o.id FROM orders o WHERE o.status = 'new' ORDER BY o.total DESC LIMIT 5
SELECT id AS n FROM orders ORDER BY n
SELECT o FROM orders o
SELECT orders FROM orders
SELECT count(*) FROM orders
SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id
SELECT id FROM orders WHERE customer_id IN (SELECT id FROM customers)
SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = o.customer_id)
SELECT (SELECT max(total) FROM orders) AS top
SELECT * FROM (SELECT id FROM orders) s
SELECT * FROM orders, LATERAL (SELECT name FROM customers WHERE id = customer_id) c
SELECT * FROM app.public.orders
SELECT * FROM public.orders
SELECT * FROM secret.salaries
SELECT id FROM orders UNION ALL SELECT id FROM customers ORDER BY id
SELECT * FROM orders AS o (a, b, c, d)
SELECT x FROM orders AS o (x, y, z, w)
SELECT * FROM ONLY orders
SELECT * FROM orders TABLESAMPLE bernoulli (10)
SELECT * FROM generate_series(1, 3) g
SELECT * FROM ROWS FROM (generate_series(1, 3), generate_series(1, 2)) r
SELECT row_number() OVER (PARTITION BY status ORDER BY id) FROM orders
SELECT array_agg(id ORDER BY id) FILTER (WHERE total > 1) FROM orders
SELECT id FROM orders GROUP BY GROUPING SETS ((id), ())
SELECT CASE WHEN total > 1 THEN lower(status) ELSE 'x' END FROM orders
SELECT coalesce(status, 'x'), nullif(id, 1), greatest(1, 2) FROM orders
SELECT extract(year FROM now()), current_date, substring('abc' FROM 2)
SELECT '2020-01-01'::date, CAST('1' AS int), 'new'::mood
SELECT xmlelement(name a, 'b')
SELECT json_build_object('a', 1), '{"a":1}'::jsonb -> 'a'
SELECT pg_sleep(0)
SELECT random(), gen_random_uuid(), clock_timestamp()
SELECT version(), current_user, current_database(), pg_backend_pid()
SELECT current_setting('server_version')
SELECT pg_catalog.count(*) FROM orders
SELECT relname FROM pg_class
SELECT relname FROM pg_catalog.pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid)
SELECT * FROM pg_stat_activity
SELECT * FROM pg_stats
SELECT * FROM information_schema.tables
SELECT has_table_privilege('orders', 'select'), to_regclass('orders')
SELECT pg_get_viewdef('open_orders'::regclass), pg_total_relation_size('orders')
SELECT id, secret_fn FROM orders
SELECT * FROM open_orders
SHOW search_path
SHOW ALL
EXPLAIN SELECT * FROM orders
EXPLAIN DELETE FROM orders
EXPLAIN (ANALYZE false) DELETE FROM orders
EXPLAIN ANALYZE SELECT * FROM orders
EXPLAIN (ANALYZE, BUFFERS) SELECT id FROM orders
COPY orders TO STDOUT
COPY orders (id, status) TO STDOUT WITH (FORMAT csv)
COPY (SELECT id FROM orders) TO STDOUT

-- only a comment

/* DROP TABLE orders */ SELECT 1
SELECT 1; SELECT 2
# --- names that hide names
WITH orders AS (SELECT 1 AS id) SELECT id FROM orders
WITH x AS (SELECT * FROM x) SELECT * FROM x
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t
WITH a AS (SELECT id FROM orders), b AS (SELECT * FROM a) SELECT * FROM b
WITH orders AS (SELECT 1 AS id) SELECT * FROM public.orders
WITH orders AS (SELECT 1 AS id) INSERT INTO orders SELECT 2
SELECT (WITH q AS (SELECT 1) SELECT count(*) FROM q), (SELECT count(*) FROM q)
# --- writing
INSERT INTO orders (id, status) VALUES (1, 'new')
INSERT INTO orders VALUES (1, 'new')
INSERT INTO orders DEFAULT VALUES
INSERT INTO orders (id) VALUES (1) RETURNING id
INSERT INTO orders (id) VALUES (1) RETURNING *
INSERT INTO orders (id) SELECT id FROM customers
INSERT INTO orders (id, status) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET status = excluded.status
INSERT INTO orders (id) VALUES (1) ON CONFLICT DO NOTHING
UPDATE orders SET status = 'done' WHERE id = 1
UPDATE orders SET total = total + 1
UPDATE orders SET (status, total) = ('x', 1) WHERE id = 2 RETURNING id
UPDATE orders o SET total = c.id FROM customers c WHERE c.id = o.customer_id
UPDATE orders SET total = (SELECT max(id) FROM customers)
DELETE FROM orders WHERE id = 1
DELETE FROM orders
DELETE FROM orders USING customers c WHERE c.id = customer_id
MERGE INTO orders o USING customers c ON o.customer_id = c.id WHEN MATCHED THEN UPDATE SET total = 0 WHEN NOT MATCHED THEN INSERT (id) VALUES (c.id)
MERGE INTO orders o USING customers c ON o.customer_id = c.id WHEN MATCHED THEN DELETE
TRUNCATE orders
TRUNCATE orders, customers CASCADE
SELECT * FROM orders FOR UPDATE
SELECT id FROM orders WHERE id = 1 FOR SHARE SKIP LOCKED
SELECT * FROM orders o, customers c FOR NO KEY UPDATE OF o
SELECT id INTO copied FROM orders
SELECT id INTO TEMP scratch FROM orders
COPY orders FROM STDIN
COPY orders (id) FROM STDIN WHERE id > 1
COPY (DELETE FROM orders RETURNING id) TO STDOUT
WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone
WITH gone AS (DELETE FROM orders RETURNING id) INSERT INTO archive SELECT id FROM gone
WITH a AS (UPDATE customers SET name = 'x' RETURNING id) SELECT 1
SELECT 1 FROM (WITH w AS (INSERT INTO orders (id) VALUES (9) RETURNING id) SELECT * FROM w) s
EXPLAIN ANALYZE DELETE FROM orders
EXPLAIN (ANALYZE true) INSERT INTO orders (id) VALUES (3)
EXPLAIN (ANALYZE on, FORMAT json) UPDATE orders SET total = 0
EXPLAIN ANALYZE CREATE TABLE t2 AS SELECT 1
EXPLAIN ANALYZE EXECUTE q
LOCK TABLE orders
LOCK TABLE orders IN ACCESS SHARE MODE
SELECT 1; DROP TABLE orders
SELECT 1; DELETE FROM orders; SELECT 2
# --- calls
SELECT refund(1)
SELECT public.refund(1)
SELECT secret.pay(1)
SELECT * FROM refund(1)
SELECT id FROM orders WHERE total > refund(id)
SELECT id FROM orders ORDER BY refund(id)
SELECT id FROM orders LIMIT refund(1)
SELECT max(id) FILTER (WHERE refund(1) > 0) FROM orders
SELECT sum(id) OVER (ORDER BY refund(id)) FROM orders
SELECT 1 FROM orders GROUP BY refund(id) HAVING refund(1) > 1
INSERT INTO orders (id) VALUES (refund(1))
UPDATE orders SET total = refund(id)
DELETE FROM orders WHERE refund(id) = 1
SELECT 1 OPERATOR(public.+) 2
SELECT 1 OPERATOR(pg_catalog.+) 2
SELECT id FROM orders ORDER BY id USING OPERATOR(public.<)
SELECT ARRAY[refund(1)], (ROW(refund(1), 2)), (ARRAY[1,2])[refund(1)]
SELECT * FROM orders TABLESAMPLE public.mine (10)
SELECT * FROM xmltable('/a' PASSING xmlparse(content refund(1)::text) COLUMNS b int PATH 'b')
CALL settle(1)
DO $$ BEGIN DELETE FROM orders; END $$
SELECT nextval('orders_id_seq')
SELECT nextval('secret.s'::regclass)
SELECT nextval($1)
SELECT setval('orders_id_seq', 1)
SELECT currval('orders_id_seq')
SELECT pg_notify('jobs', 'x')
SELECT pg_advisory_lock(1)
SELECT pg_try_advisory_xact_lock(1)
SELECT txid_current()
SELECT pg_export_snapshot()
# --- reaching outside
SELECT pg_read_file('/etc/passwd')
SELECT pg_catalog.pg_read_file('/etc/passwd')
SELECT pg_read_binary_file('/etc/passwd')
SELECT pg_ls_dir('/')
SELECT pg_stat_file('/etc/passwd')
SELECT lo_import('/etc/passwd')
SELECT lo_export(1, '/tmp/x')
SELECT lo_create(0)
SELECT lo_get(1)
SELECT lo_unlink(1)
SELECT loread(0, 1)
SELECT dblink('host=x', 'delete from orders')
SELECT pg_terminate_backend(1)
SELECT pg_cancel_backend(1)
SELECT pg_reload_conf()
SELECT pg_switch_wal()
SELECT pg_create_restore_point('x')
SELECT pg_promote()
SELECT pg_stat_reset()
SELECT pg_logical_emit_message(true, 'a', 'b')
SELECT pg_create_logical_replication_slot('a', 'b')
SELECT pg_drop_replication_slot('a')
SELECT query_to_xml('delete from orders returning *', true, true, '')
SELECT pg_catalog.query_to_xml('select * from secret.salaries', true, true, '')
SELECT table_to_xml('secret.salaries', true, true, '')
SELECT database_to_xml(true, true, '')
SELECT schema_to_xml('secret', true, true, '')
SELECT cursor_to_xml('c', 1, true, true, '')
SELECT ts_stat('select body from secret.salaries')
SELECT ts_rewrite('a'::tsquery, 'select a, b from secret.salaries')
SELECT "pg_terminate_backend"(1)
SELECT U&"pg\005fread_file"('/etc/passwd')
COPY orders TO '/tmp/x'
COPY orders FROM '/tmp/x'
COPY orders TO PROGRAM 'cat'
COPY orders FROM PROGRAM 'cat'
COPY (SELECT 1) TO PROGRAM 'sh'
LOAD 'x'
CHECKPOINT
ALTER SYSTEM SET fsync = off
# --- the session
SET statement_timeout = 1000
SET LOCAL statement_timeout = 0
SET search_path TO secret, public
SET SESSION search_path = 'secret'
SELECT set_config('search_path', 'secret', false)
SELECT pg_catalog.set_config('search_path', '', true)
SELECT set_config('ro' || 'le', 'postgres', false)
SELECT set_config($1, $2, false)
SELECT set_config(name, 'off', false) FROM pg_settings
SELECT set_config('role', 'postgres', false)
UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'
SET standard_conforming_strings = on
SET standard_conforming_strings = off
SET standard_conforming_strings TO DEFAULT
SET "Standard_Conforming_Strings" = off
SELECT set_config('STANDARD_CONFORMING_STRINGS', 'off', false)
SET client_encoding = 'UTF8'
SET client_encoding = 'SJIS'
SET NAMES 'GBK'
SET backslash_quote = on
SET TIME ZONE 'UTC'
SET role postgres
SET LOCAL ROLE postgres
SET ROLE NONE
RESET ROLE
SET SESSION AUTHORIZATION postgres
RESET SESSION AUTHORIZATION
SET session_replication_role = replica
SET row_security = off
SET app.user_id = '7'
SET TRANSACTION READ WRITE
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
SET default_transaction_read_only = off
SET transaction_read_only = off
RESET ALL
RESET search_path
DISCARD ALL
DISCARD TEMP
DISCARD PLANS
PREPARE q AS DELETE FROM orders WHERE id = $1
PREPARE q (int) AS SELECT id FROM orders WHERE id = $1
PREPARE q AS SELECT 1; EXECUTE q
PREPARE q AS DELETE FROM orders; EXECUTE q
EXECUTE q(1)
EXECUTE q(refund(1))
CREATE TABLE made AS EXECUTE q
DEALLOCATE q
DEALLOCATE ALL
DECLARE c CURSOR FOR SELECT id FROM orders
DECLARE c CURSOR WITH HOLD FOR SELECT refund(id) FROM orders
BEGIN; DECLARE c CURSOR FOR SELECT id FROM orders; FETCH 10 FROM c; CLOSE c; COMMIT
FETCH 10 FROM c
MOVE ALL FROM c
CLOSE ALL
LISTEN jobs
UNLISTEN *
NOTIFY jobs, 'x'
BEGIN
BEGIN READ ONLY
START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE
COMMIT
END
ROLLBACK
ROLLBACK AND CHAIN
SAVEPOINT a
RELEASE a
ROLLBACK TO a
PREPARE TRANSACTION 'x'
COMMIT PREPARED 'x'
ROLLBACK PREPARED 'x'
BEGIN; DELETE FROM orders; COMMIT
SET CONSTRAINTS ALL DEFERRED
# --- temporary relations
CREATE TEMP TABLE scratch (a int)
CREATE TEMP TABLE scratch (a int); INSERT INTO scratch VALUES (1); SELECT a FROM scratch
CREATE TEMP TABLE salaries (a int); DROP TABLE salaries; SELECT * FROM salaries
CREATE TEMP TABLE salaries (a int) ON COMMIT DROP; COMMIT; SELECT * FROM salaries
SELECT * FROM pg_temp.scratch
CREATE TEMP VIEW v AS SELECT * FROM secret.salaries
# --- definitions
CREATE TABLE t (id int PRIMARY KEY, name text DEFAULT lower('A'), CHECK (id > 0))
CREATE TABLE t (id int DEFAULT refund(1))
CREATE TABLE t (id int REFERENCES secret.salaries (id))
CREATE TABLE t (LIKE secret.salaries INCLUDING ALL)
CREATE TABLE t () INHERITS (orders)
CREATE TABLE p (a int) PARTITION BY RANGE (a)
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (10)
CREATE TABLE t AS SELECT * FROM secret.salaries
CREATE TABLE IF NOT EXISTS other.t (a int)
CREATE VIEW v AS SELECT * FROM secret.salaries
CREATE OR REPLACE VIEW v AS SELECT refund(id) FROM orders
CREATE MATERIALIZED VIEW m AS SELECT id FROM orders
REFRESH MATERIALIZED VIEW m
CREATE INDEX ON orders (status)
CREATE INDEX i ON orders (refund(id))
CREATE UNIQUE INDEX CONCURRENTLY i ON orders (lower(status)) WHERE total > 0
CREATE SEQUENCE s
ALTER SEQUENCE s RESTART
CREATE SCHEMA extra
CREATE SCHEMA extra CREATE TABLE t (a int) CREATE VIEW v AS SELECT * FROM t
CREATE TYPE mood2 AS ENUM ('a')
ALTER TYPE mood ADD VALUE 'b'
CREATE TYPE pair AS (a int, b int)
CREATE DOMAIN positive AS int CHECK (VALUE > 0)
CREATE DOMAIN checked AS int CHECK (refund(VALUE) > 0)
ALTER TABLE orders ADD COLUMN note text
ALTER TABLE orders ADD COLUMN note int DEFAULT refund(1)
ALTER TABLE orders ALTER COLUMN total TYPE text USING refund(total)::text
ALTER TABLE orders DROP COLUMN total CASCADE
ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (customer_id) REFERENCES customers (id)
ALTER TABLE orders ENABLE ROW LEVEL SECURITY
ALTER TABLE orders DISABLE TRIGGER ALL
ALTER TABLE orders OWNER TO bob
ALTER TABLE orders RENAME TO orders2
ALTER TABLE orders RENAME COLUMN total TO sum
ALTER TABLE orders SET SCHEMA other
ALTER TABLE p ATTACH PARTITION orders DEFAULT
ALTER INDEX i RENAME TO j
ALTER SCHEMA public RENAME TO old
DROP TABLE orders
DROP TABLE IF EXISTS orders, secret.salaries CASCADE
DROP VIEW open_orders
DROP INDEX CONCURRENTLY i
DROP SCHEMA other
DROP FUNCTION refund(int)
DROP TRIGGER t ON orders
DROP TYPE mood
DROP EXTENSION pgcrypto
DROP OWNED BY bob
COMMENT ON TABLE orders IS 'x'
COMMENT ON COLUMN orders.id IS 'x'
COMMENT ON DATABASE app IS 'x'
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC DELETE FROM orders; SELECT 1; END
CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'
CREATE PROCEDURE p() LANGUAGE sql AS 'delete from orders'
ALTER FUNCTION refund(int) SECURITY DEFINER
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION audit()
CREATE RULE r AS ON SELECT TO orders DO INSTEAD SELECT * FROM secret.salaries
CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM customers
CREATE POLICY p ON orders USING (customer_id = refund(1))
CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION audit()
CREATE OPERATOR + (LEFTARG = int, RIGHTARG = text, FUNCTION = refund)
CREATE CAST (int AS mood) WITH FUNCTION refund(int)
CREATE AGGREGATE agg (int) (SFUNC = refund, STYPE = int)
CREATE EXTENSION dblink
CREATE LANGUAGE plperlu
CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw
CREATE USER MAPPING FOR CURRENT_USER SERVER s
IMPORT FOREIGN SCHEMA a FROM SERVER s INTO public
CREATE PUBLICATION p FOR ALL TABLES
CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p
CREATE ROLE bob SUPERUSER
ALTER ROLE bob SET search_path = secret
ALTER USER bob PASSWORD 'x'
DROP ROLE bob
CREATE DATABASE d
DROP DATABASE d
ALTER DATABASE app SET search_path = secret
CREATE TABLESPACE t LOCATION '/tmp/t'
GRANT SELECT ON orders TO bob
GRANT ALL ON ALL TABLES IN SCHEMA public TO bob
GRANT EXECUTE ON FUNCTION refund(int) TO bob
GRANT USAGE ON SCHEMA secret TO bob
GRANT pg_read_all_data TO bob
REVOKE ALL ON orders FROM bob
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO bob
REASSIGN OWNED BY bob TO alice
SECURITY LABEL ON TABLE orders IS 'x'
VACUUM
VACUUM FULL orders
ANALYZE orders
CLUSTER orders
REINDEX TABLE orders
REINDEX DATABASE app
# --- how it is written
SELECT 'it''s', E'\'; DROP TABLE orders; --', $$; DELETE FROM orders$$
SELECT U&'d\0061t' UESCAPE '\'
SELECT /* /* nested */ DROP TABLE orders; */ 1
SELECT 'a' -- '; DROP TABLE orders; --
sElEcT "ID" FROM "Orders"
SELECT $tag$ $$ DELETE $$ $tag$
SELEC 1
SELECT 'open
SELECT 1;;; SELECT 2
SELECT 1 /* open
# A reference may reach past a level that it cannot reach into.
SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM (SELECT 1 WHERE o.total > 5) s)
SELECT id FROM orders o WHERE EXISTS (WITH c AS (SELECT 1 WHERE o.total > 5) SELECT 1 FROM c)
SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM (SELECT 1 WHERE total > 5) s)
SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = (o).total)
SELECT id FROM orders o WHERE EXISTS (SELECT o FROM customers c)
SELECT id FROM orders o WHERE EXISTS (SELECT o.* FROM customers c)
SELECT id FROM orders WHERE id IN (SELECT x FROM (SELECT id AS x FROM customers UNION SELECT total FROM customers) u)
SELECT name FROM customers WHERE id IN (SELECT 1 FROM secret.salaries customers WHERE public.customers.name = body::text)
WITH c AS (SELECT total FROM orders) SELECT id FROM customers
