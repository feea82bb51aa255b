// Which instances steps of streams may ask.
import type { DesiredInstance, ServiceRoute } from '@skerry/contract';
import { expect, test } from 'vitest';
import { endpointsOf } from './endpoints.ts';

const instance = (uid: string, more: object = {}) =>
  ({
    ...{ uid, project: 'default', deleted: false },
    spec: {
      workload: 'w',
      network: { address: '10.64.0.2' },
      template: {
        ports: [
          { name: 'http', port: 80 },
          { name: 'dns', port: 53, protocol: 'udp' },
        ],
      },
    },
    ...more,
  }) as unknown as DesiredInstance;
const route = {
  ...{ project: 'default', name: 'w', address: '172.16.0.1' },
  ports: [{ name: 'http', port: 80, protocol: 'tcp', targetPort: 8080 }],
  endpoints: [
    { uid: 'far', node: 'south', address: '10.64.2.2', latencyUs: 9000, healthy: true },
    { uid: 'near', node: 'west', address: '10.64.3.2', latencyUs: 900, healthy: true },
    { uid: 'ill', node: 'west', address: '10.64.3.3', latencyUs: 100, healthy: false },
    { uid: 'a', node: 'north', address: '10.64.0.2', latencyUs: 0, healthy: true },
  ],
} as unknown as ServiceRoute;

test('those that run and are well, here first, then the nearest elsewhere; by TCP only', () => {
  const status = {
    a: { phase: 'running' },
    b: { phase: 'running', health: 'unhealthy' },
    c: { phase: 'starting' },
  };
  const found = endpointsOf({
    node: 'north',
    instances: [instance('a'), instance('b'), instance('c'), instance('d', { deleted: true })],
    services: [route],
    status: (uid) => status[uid as unknown as keyof typeof status] as never,
  });
  expect(found.map(({ uid, port, portName }) => [uid, port, portName])).toEqual([
    ['a', 80, 'http'],
    ['near', 8080, 'http'],
    ['far', 8080, 'http'],
  ]);
  expect(found.map(({ isHere }) => isHere)).toEqual([true, undefined, undefined]);
});
