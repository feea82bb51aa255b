/** A bridge with taps of the benchmark's own, and a DHCP server on it where guests ask for their address. */
import { join } from 'node:path';
import { background, end, run } from './program.ts';

export interface Wire {
  readonly bridge: string;
  readonly tap: string;
  /** Forgets what the host knows of its neighbours: the next guest starts as the first one did. */
  forget(): Promise<void>;
  end(): Promise<void>;
}

const ip = (text: string) => run('ip', text.split(' '));

/** `network`: the first three numbers of an IPv4 address; the host is .1, the guest .2. */
export async function makeWire(network: string, folder: string, dhcp: boolean): Promise<Wire> {
  const bridge = `skb${process.pid}`;
  const tap = `skt${process.pid}`;
  let server: ReturnType<typeof background> | undefined;
  const stop = async () => {
    if (server) await end(server);
    await ip(`link delete ${tap}`).catch(() => undefined);
    await ip(`link delete ${bridge}`).catch(() => undefined);
  };
  try {
    await ip(`link add ${bridge} type bridge`);
    await ip(`addr add ${network}.1/24 dev ${bridge}`);
    await ip(`link set ${bridge} up`);
    await ip(`tuntap add ${tap} mode tap`);
    await ip(`link set ${tap} master ${bridge} up`);
    if (dhcp)
      server = background(
        'dnsmasq',
        [
          ...[
            '--keep-in-foreground',
            '--conf-file=/dev/null',
            '--port=0',
            '--bind-interfaces',
            '--user=root',
          ],
          ...[`--interface=${bridge}`, '--except-interface=lo', `--dhcp-range=${network}.2,${network}.2,10m`],
          ...['--dhcp-authoritative', '--no-ping', `--dhcp-leasefile=${join(folder, 'leases')}`],
          `--dhcp-option=3,${network}.1`,
        ],
        join(folder, 'dnsmasq.log'),
      );
  } catch (error) {
    await stop();
    throw error;
  }
  return { bridge, tap, forget: async () => void (await ip(`neigh flush dev ${bridge}`)), end: stop };
}
