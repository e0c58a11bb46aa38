"""asyncpg: always extended protocol, binary formats, statement cache, introspection of types."""
import asyncio
import os
import asyncpg


async def main():
    db = await asyncpg.connect(os.environ["DATABASE_URL"])
    await db.execute("DELETE FROM orders WHERE note = $1", "asyncpg")
    await db.executemany("INSERT INTO orders (id, note) VALUES ($1, $2)", [(40_000 + n, "asyncpg") for n in range(50)])
    assert await db.fetchval("SELECT count(*) FROM orders WHERE note = $1", "asyncpg") == 50
    assert await db.fetchval("SELECT $1::int[]", [1, 2, 3]) == [1, 2, 3]
    async with db.transaction():
        rows = [row async for row in db.cursor("SELECT id FROM orders WHERE note = 'asyncpg' ORDER BY id", prefetch=7)]
        assert len(rows) == 50
    await db.copy_records_to_table("orders", records=[(41_000 + n, "asyncpg") for n in range(200)], columns=["id", "note"])
    assert await db.fetchval("SELECT count(*) FROM orders WHERE note = 'asyncpg'") == 250
    try:
        await db.fetch("SELECT * FROM payroll")
    except asyncpg.InsufficientPrivilegeError as refused:
        assert refused.sqlstate == "42501"
    else:
        raise AssertionError("payroll was readable")
    try:
        await db.execute("SELECT pg_sleep(30)", timeout=0.5)
    except (asyncio.TimeoutError, asyncpg.QueryCanceledError):
        pass
    else:
        raise AssertionError("the time-out did not cancel")
    assert await db.fetchval("SELECT 1") == 1
    await db.execute("DELETE FROM orders WHERE note = 'asyncpg'")
    await db.close()


asyncio.run(main())
print("asyncpg ok")
