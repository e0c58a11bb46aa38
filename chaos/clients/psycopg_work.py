"""psycopg 3 as an application uses it: parameters, transactions, COPY, server cursors, pipelines, notifications."""
import os
import psycopg

with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as db:
    db.execute("DELETE FROM orders WHERE note = 'psycopg'")
    with db.transaction():
        for number in range(20):
            db.execute("INSERT INTO orders (id, note) VALUES (%s, %s)", (10_000 + number, "psycopg"))
    assert db.execute("SELECT count(*) FROM orders WHERE note = %s", ("psycopg",)).fetchone() == (20,)

    for _ in range(10):  # becomes a prepared statement on the way
        assert db.execute("SELECT note FROM orders WHERE id = %s", (10_003,)).fetchone() == ("psycopg",)

    with db.pipeline():
        cursors = [db.execute("SELECT %s::int + 1", (n,)) for n in range(50)]
    assert [c.fetchone()[0] for c in cursors] == list(range(1, 51))

    with db.cursor().copy("COPY orders (id, note) FROM STDIN") as copy:
        for number in range(1000):
            copy.write_row((20_000 + number, "psycopg"))
    with db.cursor().copy("COPY (SELECT id FROM orders WHERE id >= 20000 AND id < 21000 ORDER BY id) TO STDOUT") as copy:
        assert sum(1 for _ in copy.rows()) == 1000

    with db.transaction():
        with db.cursor(name="walk") as cursor:
            cursor.execute("SELECT id FROM orders WHERE id >= 20000 ORDER BY id")
            assert len(cursor.fetchmany(10)) == 10

    try:
        with db.transaction():
            db.execute("INSERT INTO orders (id, note) VALUES (30000, 'psycopg')")
            db.execute("SELECT 1/0")
    except psycopg.errors.DivisionByZero:
        pass
    else:
        raise AssertionError("the error did not arrive")
    assert db.execute("SELECT count(*) FROM orders WHERE id = 30000").fetchone() == (0,)

    try:
        db.execute("SELECT * FROM payroll")
    except psycopg.errors.InsufficientPrivilege as refused:
        assert "assize" in str(refused).lower() or "request" in str(refused).lower(), refused
    else:
        raise AssertionError("payroll was readable")
    assert db.execute("SELECT 1").fetchone() == (1,)
    db.execute("DELETE FROM orders WHERE note = 'psycopg'")
print("psycopg ok")
