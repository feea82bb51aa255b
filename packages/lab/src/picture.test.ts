import { expect, test } from 'vitest';
import { parseLabFile } from './lab-file.ts';
import { drawLab } from './picture.ts';
import { planLab } from './plan.ts';

const document = (kind: string, name: string, spec: object) =>
  JSON.stringify({ apiVersion: 'skerry/v1', kind, metadata: { name }, spec });
const site = (name: string) => document('Site', name, {});
const link = (name: string, between: string[], latency: string, more = {}) =>
  document('Link', name, { between, latency, ...more });
const text = [
  document('Lab', 'small', { controller: { site: 'far' }, nodes: [{ name: 'n', site: 'near' }] }),
  ...['far', 'near', 'island'].map(site),
  document('AccessPoint', 'tower', { type: 'radio-tower', site: 'near' }),
  link('a', ['far', 'near'], '5ms', { bandwidth: '100Mbit', loss: 0.01 }),
  link('b', ['far', 'tower'], '9ms'),
  document('Client', 'phone', { attachedTo: 'tower' }),
  document('Client', 'van', {}),
].join('\n---\n');
const plan = planLab(parseLabFile(text), '0123abcd', '10.200.16.0/20');
const view = {
  ...{ name: 'small', id: '0123abcd', plan, wires: plan.wires, cuts: new Map<string, string>() },
  attached: new Map([['phone', 'tower']]),
  machines: new Map([
    ['n', { name: 'n', phase: 'ready', memoryBytes: 64 * 1024 ** 2, instances: ['hello-0 running'] }],
  ]),
};

test('every place is drawn once, with what stands there; links beside the shortest ways are named at both ends', () => {
  expect(`\n${drawLab(view)}\n`).toBe(`
far (site)
│  ■ controller (unknown)
│  ── 9ms ── tower [b]
└── 5ms 100Mbit 1% lost ── [a] near (site)
   │  ■ n (ready, 64MiB): hello-0 running
   └── 0ms ── [tower-at-near] tower (radio-tower)
         ○ phone
         ── 9ms ── far [b]
island (site)
away: van
`);
});

test('a cut link is seen, and redraws nothing else', () => {
  const cut = drawLab({
    ...view,
    cuts: new Map([
      ['a', 'both'],
      ['b', 'tower'],
    ]),
  });
  expect(cut.split('\n')[3]).toBe('└──╳ cut ╳── [a] near (site)');
  expect(cut).toContain('── nothing from tower ── far [b]');
  expect(cut.split('\n')).toHaveLength(drawLab(view).split('\n').length);
});
