/** What the queue asks of a file system: so little that a test can stand in with one that loses what was not synced. */
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface QueueFile {
  /** Writes all of it at this place. */
  write(data: Uint8Array, at: number): Promise<void>;
  /** Fewer bytes only at the end of the file. */
  read(at: number, bytes: number): Promise<Uint8Array>;
  size(): Promise<number>;
  truncate(bytes: number): Promise<void>;
  /** fdatasync(2). */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface QueueFiles {
  /** The folder is there when it resolves. */
  prepare(folder: string): Promise<void>;
  list(folder: string): Promise<string[]>;
  /** Made where it is not there; its name is durable after `syncFolder`. */
  open(path: string): Promise<QueueFile>;
  remove(path: string): Promise<void>;
  /** Replaces what is there. */
  rename(from: string, to: string): Promise<void>;
  syncFolder(folder: string): Promise<void>;
}

export const nodeFiles: QueueFiles = {
  async prepare(folder) {
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    if (made !== undefined) await nodeFiles.syncFolder(dirname(made));
  },
  list: (folder) => readdir(folder),
  async open(path) {
    const handle = await open(path, constants.O_CREAT | constants.O_RDWR, 0o600);
    return {
      async write(data, at) {
        for (let done = 0; done < data.length; ) {
          const { bytesWritten } = await handle.write(data, done, data.length - done, at + done);
          done += bytesWritten;
        }
      },
      async read(at, bytes) {
        const buffer = Buffer.allocUnsafe(bytes);
        let have = 0;
        while (have < bytes) {
          const { bytesRead } = await handle.read(buffer, have, bytes - have, at + have);
          if (bytesRead === 0) break;
          have += bytesRead;
        }
        return buffer.subarray(0, have);
      },
      size: async () => (await handle.stat()).size,
      truncate: (bytes) => handle.truncate(bytes),
      sync: () => handle.datasync(),
      close: () => handle.close(),
    };
  },
  async remove(path) {
    await unlink(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  },
  rename,
  async syncFolder(folder) {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};
