// What an agent says is stored only where it has the shape that it should have.
import type { ControllerLink } from '@skerry/contract';
import { expect, test } from 'vitest';
import { checkedLink } from './report-check.ts';

const heard: unknown[] = [];
const link = checkedLink({
  register: async (report) => void heard.push(report),
  measure: async () => undefined,
  sighted: async () => undefined,
  lease: async (_, request) => [{ uid: request.holder as never, forMs: 1 }],
  report: async (_, observed) => void heard.push(observed),
  desired: async function* () {},
  deviceFeed: async function* () {},
  deviceCall: async function* () {},
  deviceCertificate: async () => ({ certificate: '', authority: '' }),
  devices: async (_, told) => void heard.push(told),
} as ControllerLink);

const node = {
  name: 'north',
  status: {
    arch: 'amd64',
    version: '0.1.0',
    kernel: '6.1',
    subnet: '10.66.0.0/22',
    capacity: { cpus: 2, memoryBytes: 1, diskBytes: 1 },
    findings: [],
  },
  overheadBytes: { container: 4 },
};
const status = { phase: 'running', observedGeneration: 1, health: 'healthy', restartCount: 0, exits: [] };
const present = { uid: 'u', state: 'present', status, events: [] };
const report = (instances: unknown[], volumes: unknown[] = []) =>
  link.report('north', { generation: 1, instances, volumes } as never);

test('what is as it should be is passed on as it is', async () => {
  await link.register(node as never);
  await report([present, { uid: 'v', state: 'absent' }], [{ uid: 'w', state: 'ready' }]);
  expect(heard).toHaveLength(2);
});

test.each([
  ['a phase that there is none of', [{ ...present, status: { ...status, phase: 'dreaming' } }]],
  ['no status', [{ uid: 'u', state: 'present', events: [] }]],
  [
    'a flood of events',
    [{ ...present, events: Array(2000).fill({ atMs: 1, type: 'normal', reason: 'x', message: 'y' }) }],
  ],
  [
    'a date beyond all dates',
    [{ ...present, events: [{ atMs: 1e17, type: 'normal', reason: 'x', message: 'y' }] }],
  ],
  ['no list', 'all of them'],
])('%s is refused', async (_, instances) => {
  await expect(report(instances as never)).rejects.toMatchObject({ code: 'request_invalid' });
});

const devices = { devices: [], streams: [], listening: ['mqtts://192.0.2.1:8883'] };
const device = { project: 'default', name: 'd', connected: true, seenAgoMs: 5 };

test('what a node tells of devices goes through, and so do its questions', async () => {
  expect(link.deviceFeed).toBeDefined();
  expect(link.deviceCall).toBeDefined();
  expect(link.deviceCertificate).toBeDefined();
  await link.devices!('north', { ...devices, devices: [device] });
  expect(heard.at(-1)).toMatchObject({ devices: [device] });
});

test.each([
  ['no list of devices', { ...devices, devices: 'all' }],
  ['a device without a name', { ...devices, devices: [{ ...device, name: '' }] }],
  [
    'a reported state that is text',
    { ...devices, devices: [{ ...device, reported: { version: 1, state: 'x' } }] },
  ],
  ['an URL without end', { ...devices, listening: ['m'.repeat(1000)] }],
])('a report of devices with %s is refused', async (_, value) => {
  await expect(link.devices!('north', value as never)).rejects.toMatchObject({ code: 'request_invalid' });
});

test.each([
  ['a subnet that is a number', { ...node, status: { ...node.status, subnet: 5 } }],
  ['an overhead below nothing', { ...node, overheadBytes: { container: -1 } }],
  ['nothing', undefined],
])('a registration with %s is refused', async (_, value) => {
  await expect(link.register(value as never)).rejects.toMatchObject({ code: 'request_invalid' });
});

test('a request for leases that is none is refused', async () => {
  const lease = (request: unknown) => link.lease('north', request as never);
  expect(await lease({ holder: 'h', leases: [{ uid: 'u', epoch: 1, holds: true }] })).toEqual([
    { uid: 'h', forMs: 1 },
  ]);
  for (const wrong of [
    undefined,
    {},
    { holder: '', leases: [] },
    { holder: 'h', leases: [{ uid: 'u', epoch: 'x' }] },
  ])
    await expect(lease(wrong)).rejects.toMatchObject({ code: 'request_invalid' });
});
