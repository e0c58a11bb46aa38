// node-postgres: text protocol, prepared by name, a pool, a refused statement.
const assert = require('node:assert');
const { Pool } = require('pg');

(async () => {
  const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 4 });
  await pool.query("DELETE FROM orders WHERE note = 'node'");
  await Promise.all([...Array(20).keys()].map((n) =>
    pool.query({ name: 'add', text: 'INSERT INTO orders (id, note) VALUES ($1, $2)', values: [50000 + n, 'node'] })));
  const { rows } = await pool.query('SELECT count(*)::int AS n FROM orders WHERE note = $1', ['node']);
  assert.strictEqual(rows[0].n, 20);
  await assert.rejects(pool.query('SELECT * FROM payroll'), (error) => error.code === '42501');
  await pool.query("DELETE FROM orders WHERE note = 'node'");
  await pool.end();
  console.log('node ok');
})().catch((error) => { console.error(error); process.exit(1); });
