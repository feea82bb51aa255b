/** The node's broker alone, in a process of its own: `broker-process FOLDER durable|memory`. Tells its parent its port. */
import { join } from 'node:path';
import { createBroker, openQueue } from '@skerry/devices';

const [folder = '', mode = 'memory'] = process.argv.slice(2);
const queue =
  mode === 'durable'
    ? await openQueue(join(folder, 'queue'), { sizeBytes: 64 * 2 ** 20, ageMs: 0, whenFull: 'oldest' })
    : undefined;
const broker = await createBroker({
  folder: join(folder, 'broker'),
  listen: [{ protocol: 'mqtt', host: '127.0.0.1', port: 0 }],
  hooks: {
    authenticate: async ({ clientId }) => ({ identity: { project: 'default', device: clientId } }),
    mayPublish: () => true,
    maySubscribe: () => true,
    ingest({ id, device, receivedAtMs, payload }) {
      if (!queue) return undefined;
      queue.append([{ id, key: device, atMs: receivedAtMs, priority: 0, data: payload }]);
      return queue.sync();
    },
    connected: () => undefined,
    disconnected: () => undefined,
  },
});
const [at] = await broker.start();
process.send!({ port: at!.port });
process.on('message', () => {
  const { writtenBytes, lastPosition } = queue?.status() ?? { writtenBytes: 0, lastPosition: 0 };
  process.send!({ rssBytes: process.memoryUsage.rss(), writtenBytes, messages: lastPosition });
});
process.on('disconnect', () => process.exit(0));
