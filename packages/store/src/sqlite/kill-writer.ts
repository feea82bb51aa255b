/** Run by the durability test as a process of its own: writes, and prints each key once its write is acknowledged. */
import { writeSync } from 'node:fs';
import { openSqliteStore } from './sqlite-store.ts';

const [, , path, round] = process.argv;
const store = openSqliteStore({ path: path! });
const writeOn = async (lane: number) => {
  for (let i = 0; ; i++) {
    const key = `/${round}/${lane}/${i}`;
    await store.txn([], [{ put: key, value: '1' }]);
    writeSync(1, `${key}\n`);
  }
};
await Promise.all([0, 1, 2, 3].map(writeOn));
