// Each error that is the controller's own can be met, over a real socket, with its status and without a word too many.
import { request } from 'node:http';
import { ERRORS, type ErrorCode } from '@skerry/model';
import type { Store } from '@skerry/store';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, type Harness, startHarness, workload } from './testing/harness.ts';

const project = 'default';
let harness: Harness;
let losing = false;
let breaking = false;
beforeAll(async () => {
  harness = await startHarness({
    https: true,
    node: { memoryMiB: 512, subnet: '10.93.0.0/29', overheadBytes: { sim: 0 } },
    wrapStore: (store: Store): Store => ({
      ...store,
      txn: async (compare, then, orElse) => {
        if (breaking) throw new TypeError('the password is hunter2');
        const lost = losing && compare.length > 0;
        return store.txn(lost ? [{ key: '/never', exists: true }] : compare, then, orElse);
      },
    }),
  });
  await put('a', { ports: [{ name: 'http', port: 80, publish: 8080 }] });
  await harness.client.image.import({ project, reference: 'box', body: Buffer.from('archive') });
  await eventually(
    () => harness.client.workload.show({ project, name: 'a' }),
    ({ status }) => status.ready === 1,
  );
});
afterAll(() => harness.close());

const put = (name: string, spec: object = {}) =>
  harness.client.workload.put({
    project,
    name,
    body: workload(name, { resources: { memory: '1MiB' }, ...spec }),
  });
const file = (kind: string, name: string, spec: object) =>
  JSON.stringify({ apiVersion: 'skerry/v1', kind, metadata: { name }, spec });

const WAYS: Partial<Record<ErrorCode, () => Promise<unknown>>> = {
  manifest_invalid: () => put('x', { replicas: -1 }),
  request_invalid: () => harness.client.workload.list({ project, selector: '===' }),
  payload_too_large: () => put('x', { image: 'x'.repeat(3_000_000) }),
  forbidden: () => harness.client.project.delete({ project }),
  not_found: () => harness.client.workload.show({ project, name: 'none' }),
  already_exists: () =>
    harness.client.function.create({ project, body: { name: 'a', source: 'x', filename: 'x.js' } }),
  precondition_failed: () =>
    harness.client.workload.put({ project, name: 'a', body: workload('a'), ifAbsent: true }),
  in_use: async () => {
    await harness.client.apply({ body: file('Volume', 'data', { size: '1MiB' }) });
    await put('a', { volumes: [{ name: 'data', mount: '/data' }] });
    return harness.client.volume.delete({ project, name: 'data' });
  },
  phase_forbids: async () => {
    await harness.client.workload.stop({ project, name: 'a' });
    return harness.client.workload.restart({ project, name: 'a' });
  },
  guest_not_running: async () => {
    await eventually(
      () => harness.client.instance.show({ project, name: 'a-0' }),
      ({ status }) => status.phase === 'stopped',
    );
    return harness.client.workload.exec({ project, name: 'a', command: ['sh'] });
  },
  quota_exceeded: () => put('x', { resources: { memory: '1GiB' } }),
  port_taken: async () => {
    await put('a', { ports: [{ name: 'http', port: 80, publish: 8080 }] });
    return put('x', { ports: [{ name: 'http', port: 80, publish: 8080 }] });
  },
  address_exhausted: () => put('x', { replicas: 20 }),
  unsupported: () => put('x', { runtime: 'container', image: 'box' }),
  image_not_found: () => put('x', { runtime: 'container', image: 'none' }),
  image_wrong_kind: () => put('x', { runtime: 'unikernel', image: 'box' }),
  image_invalid: () => harness.client.image.import({ project, body: Buffer.from('rubbish') }),
  function_invalid: () =>
    harness.client.image.build({ project, body: { name: 'f', source: 'async', filename: 'f.js' } }),
  store_compacted: async () => {
    await harness.store.compact(await harness.store.revision());
    return get('/v1/projects/default/workloads?watch=true&since=1');
  },
  unavailable: async () => {
    harness.controller.attachNode('local', undefined);
    return harness.client.instance.stats({ project, name: 'a-0' });
  },
  conflict: () => {
    losing = true;
    return put('y').finally(() => {
      losing = false;
    });
  },
  internal: () => {
    breaking = true;
    return put('y').finally(() => {
      breaking = false;
    });
  },
};

/** A raw request: a problem of it becomes an error. */
async function get(path: string): Promise<void> {
  const body = await new Promise<string>((resolve, reject) => {
    const outgoing = request({ socketPath: harness.socketPath, path }, (incoming) => {
      let text = '';
      incoming.on('data', (part) => {
        text += part;
      });
      incoming.on('end', () => resolve(text));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
  const problem = JSON.parse(body);
  if (problem.code)
    throw Object.assign(new Error(problem.detail), {
      code: problem.code,
      definition: ERRORS[problem.code as ErrorCode],
    });
}

test.each(Object.entries(WAYS))('%s', async (code, way) => {
  const error = await way().then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toMatchObject({ code });
  expect(error.message).not.toContain('hunter2');
  expect(error.definition).toBe(ERRORS[code as ErrorCode]);
});

/** Met in other tests: unauthenticated (http), cancelled and registry_unavailable (images), watch_too_slow (events), data_folder_invalid (http). */
const ELSEWHERE: ErrorCode[] = [
  'unauthenticated',
  'cancelled',
  'registry_unavailable',
  'watch_too_slow',
  'not_in_time',
  'data_folder_invalid',
];
/** Errors of the other rooms, which the controller only passes on. */
const OTHERS: ErrorCode[] = [
  'image_digest_mismatch',
  'host_missing',
  'host_command_failed',
  'host_timeout',
  'disk_full',
  'already_running',
  'not_running',
  'guest_start_failed',
  'guest_unresponsive',
  'engine_unavailable',
  'exec_failed',
  'store_full',
  'store_corrupt',
  'store_locked',
];

test('no code of the registry is forgotten', () => {
  expect([...Object.keys(WAYS), ...ELSEWHERE, ...OTHERS].sort()).toEqual(Object.keys(ERRORS).sort());
});
