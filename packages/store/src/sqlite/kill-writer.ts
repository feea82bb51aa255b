/** Run by tests as a process of its own: writes two keys in each transaction, and prints their stem once that is acknowledged. */
import { writeSync } from 'node:fs';
import { openSqliteStore } from './sqlite-store.ts';

const [, , path, round] = process.argv;
const store = openSqliteStore({ path: path! });
const writeOn = async (lane: number) => {
  for (let i = 0; ; i++) {
    const stem = `/${round}/${lane}/${i}`;
    await store.txn(
      [],
      [
        { put: `${stem}/a`, value: '1' },
        { put: `${stem}/b`, value: '1' },
      ],
    );
    writeSync(1, `${stem}\n`);
  }
};
await Promise.all([0, 1, 2, 3].map(writeOn));
