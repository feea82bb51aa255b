/** Where devices find a node: the URLs of `--devices`, read; and those that it is really reached at. Pure. */
import { isIP } from 'node:net';
import { SkerryError } from '@skerry/model';
import type { BrokerListen } from '../ports.ts';

export interface Listen {
  readonly protocol: BrokerListen['protocol'] | 'https';
  readonly host: string;
  readonly port: number;
}

/** MQTT over TLS (IANA: secure-mqtt), and beside it HTTP and MQTT over WebSocket. */
export const DEFAULT_LISTEN = ['mqtts://0.0.0.0:8883', 'https://0.0.0.0:8884'] as const;
const DEFAULT_PORTS = { mqtt: 1883, mqtts: 8883, wss: 8884, https: 8884 } as const;

/** Errors: request_invalid. */
export function parseListenUrl(text: string): Listen {
  const match = /^(mqtt|mqtts|wss|https):\/\/(?:\[([0-9a-fA-F:]+)\]|([^:/[\]]+))(?::(\d{1,5}))?\/?$/.exec(
    text,
  );
  const protocol = match?.[1] as keyof typeof DEFAULT_PORTS | undefined;
  const host = match?.[2] ?? match?.[3];
  const port = Number(match?.[4] ?? (protocol && DEFAULT_PORTS[protocol]));
  if (!protocol || !host || port > 65535 || (match?.[2] && isIP(match[2]) !== 6))
    throw new SkerryError(
      'request_invalid',
      `"${text}" is no address for devices: write it like mqtts://0.0.0.0:8883, mqtt://127.0.0.1:1883, https://[::]:8884, wss://0.0.0.0:8884 or none`,
    );
  return { protocol, host, port };
}

const ANY = new Set(['0.0.0.0', '::']);
const inUrl = (host: string) => (host.includes(':') ? `[${host}]` : host);

/** The URLs at which devices reach what listens; for any address, those that the node has. */
export function reachableUrls(listens: readonly Listen[], addresses: readonly string[]): string[] {
  return listens.flatMap(({ protocol, host, port }) => {
    const path = protocol === 'wss' ? '/mqtt' : '';
    const hosts = ANY.has(host) ? addresses : [host];
    return hosts.map((one) => `${protocol}://${inUrl(one)}:${port}${path}`);
  });
}
