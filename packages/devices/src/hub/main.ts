/**
 * `dist/devices.mjs --folder=<dataDir>/devices --socket=<runDir>/devices.sock`: the device program of a node. The agent
 * starts it, and it goes on when the agent ends. SIGTERM ends it with all that it holds on the disk.
 */
import { openControl } from './control.ts';
import { Hub } from './hub.ts';
import { createLog } from './log.ts';
import { nodeParts } from './node-parts.ts';

function argument(name: string): string {
  const found = process.argv.find((word) => word.startsWith(`--${name}=`));
  if (!found) throw new Error(`--${name}= is missing: the agent starts this program`);
  return found.slice(name.length + 3);
}

process.umask(0o077);
const logger = createLog((line) => process.stdout.write(line));
process.on('unhandledRejection', (error) =>
  logger.error({ err: error }, 'a task failed that nobody waited for'),
);
const [folder, socketPath] = [argument('folder'), argument('socket')];
const hub = new Hub({ folder, parts: nodeParts, logger });
await hub.start();
const control = await openControl(hub, socketPath, logger);
logger.info({ folder }, 'the device program is up');
process.once('SIGTERM', () => {
  const end = async () => {
    await control.close();
    await hub.stop();
  };
  end().then(
    () => process.exit(0),
    (error) => {
      logger.error({ err: error }, 'not ended cleanly');
      process.exit(1);
    },
  );
});
