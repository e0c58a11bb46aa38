-- Makes names.txt: every function name of pg_catalog. An unqualified call of one of these may mean the built-in one.
--   psql -X -At -f names.sql > names.txt
select p.proname
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'pg_catalog'
group by p.proname
order by p.proname collate "C";
