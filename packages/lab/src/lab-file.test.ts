import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SkerryError } from '@skerry/model';
import { expect, test } from 'vitest';
import { parseLabFile } from './lab-file.ts';
import { planLab } from './plan.ts';

const harbour = readFileSync(
  fileURLToPath(new URL('../../../examples/labs/harbour.yaml', import.meta.url)),
  'utf8',
);

function problemsOf(text: string): [line: number, field: string, message: string][] {
  try {
    parseLabFile(text);
  } catch (error) {
    expect(error).toBeInstanceOf(SkerryError);
    expect((error as SkerryError).code).toBe('manifest_invalid');
    const { errors } = (error as SkerryError).details as {
      errors: { line: number; field: string; message: string }[];
    };
    return errors.map(({ line, field, message }) => [line, field, message]);
  }
  throw new Error('accepted');
}

test('everything that does not fit together in a lab file is named at once, with its line', () => {
  expect(
    problemsOf(`apiVersion: skerry/v1
kind: Lab
metadata: { name: small }
spec:
  controller: { site: moon }
  nodes:
    - { name: a, site: harbour }
    - { name: a, site: harbour }
    - { name: controller, site: harbour }
  images:
    - { name: x }
    - { function: f.ts }
---
apiVersion: skerry/v1
kind: Site
metadata: { name: harbour }
spec: {}
---
apiVersion: skerry/v1
kind: AccessPoint
metadata: { name: harbour }
spec: { type: router, site: pier }
---
apiVersion: skerry/v1
kind: Link
metadata: { name: l }
spec: { between: [harbour, nowhere], latency: 5ms }
---
apiVersion: skerry/v1
kind: Client
metadata: { name: phone }
spec: { attachedTo: tower, address: "fe80::1" }
`),
  ).toEqual([
    [5, 'spec.controller.site', 'there is no Site "moon" in this file'],
    [8, 'spec.nodes[1].name', 'the name "a" is taken'],
    [9, 'spec.nodes[2].name', 'the name "controller" is taken'],
    [11, 'spec.images[0]', 'is of a `file` or of a `function`, one of the two'],
    [12, 'spec.images[1]', 'an image of a function needs a `name`'],
    [21, 'metadata.name', 'there is a Site "harbour": links name both'],
    [22, 'spec.site', 'there is no Site "pier" in this file'],
    [27, 'spec.between[1]', 'there is no Site and no AccessPoint "nowhere" in this file'],
    [32, 'spec.attachedTo', 'there is no AccessPoint "tower" in this file'],
    [32, 'spec.address', '"fe80::1" is no IPv4 address: those of a lab are'],
  ]);
});

test('a wrong field is named as in any manifest, and a file without a Lab, or with two, is refused', () => {
  expect(problemsOf(harbour.replace('controller: { site: data-centre }', 'controler: { site: x }'))).toEqual([
    [expect.any(Number), 'spec.controller', 'is missing'],
    [expect.any(Number), 'spec.controler', 'unknown field "controler" (did you mean "controller"?)'],
  ]);
  expect(problemsOf('apiVersion: skerry/v1\nkind: Site\nmetadata: { name: a }\nspec: {}\n')).toEqual([
    [1, '', 'there is no document of kind Lab: it says where the nodes stand'],
  ]);
  const second = harbour
    .slice(harbour.indexOf('apiVersion'), harbour.indexOf('---'))
    .replace('harbour', 'other');
  expect(problemsOf(`${harbour}---\n${second}`).map(([, field]) => field)).toEqual(['kind']);
});

test('every part of a lab has an address of its own; an access point without a link to its site stands there', () => {
  const file = parseLabFile(harbour);
  const plan = planLab(file, '0123abcd', '10.200.16.0/20');
  const parts = [...plan.routers, ...plan.machines, ...plan.clients];
  const addresses = [plan.nearestNode, ...parts.map(({ address }) => address)];
  expect(new Set(addresses).size).toBe(addresses.length);
  expect(addresses.every((address) => address.startsWith('10.200.16.'))).toBe(true);
  expect(parts.every(({ netns }) => netns.startsWith('skerry-lab-0123abcd-'))).toBe(true);
  expect(plan.wires.filter(({ latencyMs }) => latencyMs === 0).map(({ between }) => between)).toEqual([
    ['gate', 'harbour'],
    ['tower-1', 'hill'],
    ['tower-2', 'pier'],
  ]);
  expect(new Set(plan.wires.map(({ device }) => device)).size).toBe(plan.wires.length);
});

test('a client that asks for an address has it, and nobody else', () => {
  const asked = harbour.replace(
    'spec: { attachedTo: quay-cell }',
    'spec: { attachedTo: quay-cell, address: 10.200.16.3 }',
  );
  const plan = planLab(parseLabFile(asked), '0123abcd', '10.200.16.0/20');
  const of = [...plan.routers, ...plan.machines, ...plan.clients].filter(
    ({ address }) => address === '10.200.16.3',
  );
  expect(of.map(({ name }) => name)).toEqual(['phone-2']);
});
