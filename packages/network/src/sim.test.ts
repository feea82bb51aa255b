import { identityOf } from '@skerry/host';
import { newId, SkerryError } from '@skerry/model';
import { describe, expect, test } from 'vitest';
import { type AttachRequest, addressOfSlot, createSimNetwork, macOfSlot, parseSubnet } from './index.ts';

const identity = identityOf('00000001', '/nowhere');
const subnet = parseSubnet('10.64.0.0/22');
const signal = AbortSignal.timeout(20_000);
const request = (slot: number, more: Partial<AttachRequest> = {}): AttachRequest => ({
  uid: newId<'instance'>(),
  hostname: `guest-${slot}`,
  kind: 'netns',
  slot,
  address: addressOfSlot(subnet, slot),
  mac: macOfSlot(identity, slot),
  ports: [],
  ...more,
});
const web = (publish: number) => [{ name: 'web', port: 80, protocol: 'tcp' as const, publish }];

describe('a simulated network', () => {
  test('answers and refuses as the real one does', async () => {
    const network = createSimNetwork({ identity, subnet: subnet.cidr, takenPorts: new Set(['tcp 22']) });
    await network.start([], signal);
    const guest = request(0, { ports: web(8080) });
    const attached = await network.attach(guest, signal);
    expect(attached).toMatchObject({ kind: 'netns', gateway: '10.64.0.1', prefixLength: 22 });
    expect(await network.attach(guest, signal)).toEqual(attached);
    const refusals = [
      { request: request(1, { ports: web(8080) }), code: 'port_taken' },
      { request: request(1, { ports: web(22) }), code: 'port_taken' },
      { request: request(0), code: 'conflict' },
      { request: request(1, { address: '192.0.2.1' }), code: 'request_invalid' },
    ];
    for (const { request: refused, code } of refusals) {
      await expect(network.attach(refused, signal)).rejects.toMatchObject({ code });
      expect(await network.counters(refused.uid)).toBeUndefined();
    }
    await network.detach(guest.uid, signal);
    await network.attach(request(0, { ports: web(8080) }), signal);
  });

  test('fails when it is told to, and leaves nothing of it', async () => {
    let faults = 1;
    const network = createSimNetwork({
      identity,
      subnet: subnet.cidr,
      fault: () => (faults-- > 0 ? new SkerryError('host_command_failed', 'told to fail') : undefined),
    });
    await network.start([], signal);
    const guest = request(0);
    await expect(network.attach(guest, signal)).rejects.toMatchObject({ code: 'host_command_failed' });
    expect(await network.counters(guest.uid)).toBeUndefined();
    await network.attach(request(0), signal);
  });
});
