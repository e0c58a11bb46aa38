"""A CI job with a driver timeout shorter than a person's answer: asyncpg gives up, the job tries again elsewhere."""
import asyncio
import os
import asyncpg

URLS = os.environ["DATABASE_URLS"].split()
TIMEOUT = float(os.environ["TIMEOUT"])


async def main():
    for attempt in range(1, 16):
        db = await asyncpg.connect(URLS[attempt % len(URLS)])
        try:
            salary = await db.fetchval("select salary from payroll where name = 'eve'", timeout=TIMEOUT)
        except asyncio.TimeoutError:
            print(f"attempt {attempt} timed out", flush=True)
            continue
        finally:
            await db.close(timeout=5)
        print(f"attempt {attempt} got {salary}", flush=True)
        return
    raise SystemExit("never got through")


asyncio.run(main())
