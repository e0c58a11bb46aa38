-- Makes relations.txt: every relation of pg_catalog that a statement can name. They are found before those of the
-- search path, so an unqualified use of one of these names means the catalogue.
--   psql -X -At -f relations.sql > relations.txt
select c.relname
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'pg_catalog' and c.relkind in ('r', 'v', 'm', 'p', 'f', 'S')
order by c.relname collate "C";
