// One instance at each site where phones are, in a lab: it comes where a phone arrives, and goes after the phone has left.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, Instance, Workload } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningLab, startLab } from '../support/lab.ts';
import { ROOT } from '../support/program.ts';

let lab: RunningLab;
beforeAll(async () => {
  lab = await startLab(join(ROOT, 'examples/labs/harbour.yaml'));
}, 120_000);
afterAll(async () => {
  expect(await lab.down()).toEqual([]);
}, 60_000);

const manifest = JSON.stringify({
  apiVersion: 'skerry/v1',
  kind: 'Workload',
  metadata: { name: 'hello' },
  spec: {
    runtime: 'container',
    image: 'hello:1',
    replicas: { perSite: 1, where: 'clients', keepFor: '1s' },
    resources: { cpus: 0.25, memory: '32MiB' },
    ports: [{ name: 'http', port: 8080 }],
    placement: { near: { clients: { roams: 'yes' } } },
  },
});
const runningOn = async () =>
  (await lab.ask<Instance[]>('workload', 'instances', 'hello'))
    .filter(({ status }) => status.phase === 'running')
    .map(({ spec }) => spec.node);
const runOn = (...nodes: string[]) =>
  eventually(
    `it runs on ${nodes.join(', ')} alone`,
    async () => {
      const found = await runningOn();
      return found.length === nodes.length && nodes.every((node) => found.includes(node));
    },
    { withinMs: 60_000, everyMs: 200 },
  );

test('an instance comes up at the site where a phone arrives, and goes from the one that it left', async () => {
  const file = join(lab.folder, 'per-site.yaml');
  const [phone] = (await lab.ask<Client[]>('client', 'list')).filter(
    ({ metadata }) => metadata.name === 'phone-1',
  );
  const { name, labels } = phone!.metadata;
  const roaming = { apiVersion: 'skerry/v1', kind: 'Client', spec: phone!.spec };
  const client = JSON.stringify({ ...roaming, metadata: { name, labels: { ...labels, roams: 'yes' } } });
  writeFileSync(file, `${client}\n---\n${manifest}`);
  await lab.ask('apply', '-f', file);
  await runOn('tower-1-node');
  await lab.lab('move', 'phone-1', 'tower-2');
  await runOn('tower-2-node');
  const { status } = await lab.ask<Workload>('workload', 'show', 'hello');
  expect(status.sites).toMatchObject([{ site: 'pier', wanted: 1, ready: 1 }]);
  await eventually('it answers there', async () => {
    const url = 'http://hello.default.edge:8080/cgi-bin/whoami';
    const { stdout } = await lab.exec('phone-1', 'curl', '-sS', '-m', '3', url);
    return /^hello-\d+ says hello/.test(stdout);
  });
}, 180_000);
