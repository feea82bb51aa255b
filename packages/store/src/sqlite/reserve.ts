/**
 * Room that the database keeps for the days when its file system has none, as when a guest has filled it: free pages in the
 * file, and a write-ahead log that is long enough already, so that small writes ask the file system for nothing. A log that
 * has come to its end begins anew once its pages are in the file (sqlite.org/wal.html#ckpt), which its free pages allow.
 */
import { statSync } from 'node:fs';
import type { Db } from './db.ts';

export interface Reserve {
  /** Pages (4 KiB) that are not given back to the file system; 0: there is no reserve. */
  readonly pages: number;
  /** Makes it whole where it is less than half. Without room for it nothing happens: the next look tries again. */
  topUp(): void;
  /** Lets the log begin anew; false when it can not. Never throws. */
  restartLog(): boolean;
}

const PAGE_BYTES = 4096;

export function createReserve(db: Db, options: { path: string; reserveBytes?: number }): Reserve {
  const { path, reserveBytes = 0 } = options;
  const free = db.prepare<[], number>('PRAGMA freelist_count').pluck();
  const logBytes = () => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;

  const restartLog = () => {
    try {
      const [told] = db.pragma('wal_checkpoint(RESTART)') as { busy: number }[];
      return told?.busy === 0;
    } catch {
      return false; // the file has no room for what is in the log
    }
  };

  return {
    pages: Math.floor(reserveBytes / PAGE_BYTES),
    topUp() {
      const half = reserveBytes / 2;
      if (reserveBytes === 0 || (free.get()! * PAGE_BYTES >= half && logBytes() >= half)) return;
      try {
        // committed with content, or the file would have a hole instead of pages; then dropped, which leaves them free
        db.exec('BEGIN IMMEDIATE; DROP TABLE IF EXISTS reserve; CREATE TABLE reserve (content BLOB)');
        db.prepare('INSERT INTO reserve VALUES (zeroblob(?))').run(reserveBytes);
        db.exec('COMMIT');
        restartLog();
        db.exec('DROP TABLE reserve');
        restartLog();
      } catch {
        if (db.inTransaction) db.exec('ROLLBACK');
      }
    },
    restartLog,
  };
}
