"""A load that outlives nodes: psycopg inserts one number after the other and, when a node fails it, goes on at the next
address. A number is tried again only if the error says that nothing was done."""
import itertools
import os
import psycopg

URLS = itertools.cycle(os.environ["DATABASE_URLS"].split())
STOP = os.environ["STOP_FILE"]
NOTHING_DONE = {"57014", "57P03"}  # record not committed; no lease at login


def connected():
    while not os.path.exists(STOP):
        try:
            return psycopg.connect(next(URLS), autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            print("no connection:", str(error).replace("\n", " "), flush=True)


number, db = 0, connected()
while db is not None and not os.path.exists(STOP):
    try:
        db.execute("INSERT INTO ledger VALUES (%s)", (number,))
        print("acknowledged", number, flush=True)
    except psycopg.Error as error:
        again = error.sqlstate in NOTHING_DONE
        print("tried again" if again else "unknown", number, error.sqlstate, str(error).replace("\n", " "), flush=True)
        db.close()
        db = connected()
        if again:
            continue
    number += 1
