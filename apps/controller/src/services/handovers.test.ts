import type { Client, Instance, Workload } from '@skerry/model';
import { expect, test } from 'vitest';
import type { View } from '../state/view.ts';
import { handoverNotices, MOST_MOVES } from './handovers.ts';

const client = (name: string, to: string | undefined, from: string | undefined, at: string, kind = 'phone') =>
  ({
    metadata: { name, labels: { kind } },
    spec: to === undefined ? {} : { attachedTo: to },
    status: { handovers: 3, attachedAt: at, ...(from !== undefined && { former: [from] }) },
  }) as unknown as Client;
const workload = (name: string, near?: object) =>
  ({
    metadata: { name, project: 'default', uid: `uid of ${name}` },
    spec: { onHandover: { port: 80 }, ...(near && { placement: { near } }) },
  }) as Workload;
const view = (workloads: Workload[], clients: Client[], nodes: Record<string, string[]>) =>
  ({
    all: (kind: string) => (kind === 'workloads' ? workloads : clients),
    instancesOf: (_: string, name: string) =>
      (nodes[name] ?? []).map((node) => ({ spec: { node } }) as Instance),
  }) as unknown as View;

test('nodes with an instance hear of the clients that it is near to, the latest first', () => {
  const clients = [
    client('early', 'tower-1', 'tower-2', '2026-01-01T00:00:00Z'),
    client('late', 'tower-2', 'tower-1', '2026-01-02T00:00:00Z'),
    client('stays', 'tower-1', undefined, '2026-01-03T00:00:00Z'),
    client('away', undefined, 'tower-1', '2026-01-03T00:00:00Z'),
    client('truck', 'tower-1', 'tower-2', '2026-01-04T00:00:00Z', 'vehicle'),
  ];
  const found = handoverNotices(
    view([workload('maps', { clients: { kind: 'phone' } }), workload('all')], clients, {
      ...{ maps: ['east', 'east', 'west'], all: ['east'] },
    }),
  );
  const late = { client: 'late', from: 'tower-1', to: 'tower-2', at: '2026-01-02T00:00:00Z', handovers: 3 };
  expect([...found.keys()].sort()).toEqual(['east', 'west']);
  expect(found.get('west')).toEqual([
    { workloadUid: 'uid of maps', moves: [late, expect.objectContaining({ client: 'early' })] },
  ]);
  const all = found.get('east')!.find((one) => one.workloadUid === 'uid of all')!;
  expect(all.moves.map((move) => move.client)).toEqual(['truck', 'late', 'early']);
  expect(found.get('east')).toHaveLength(2);
});

test('of very many clients the latest are told', () => {
  const clients = Array.from({ length: 500 }, (_, at) =>
    client(`c${at}`, 'a', 'b', new Date(at * 1000).toISOString()),
  );
  const moves = handoverNotices(view([workload('w')], clients, { w: ['n'] })).get('n')![0]!.moves;
  expect(moves).toHaveLength(MOST_MOVES);
  expect(moves[0]!.client).toBe('c499');
});
